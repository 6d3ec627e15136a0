"""What the ledger holds, read past everything that counts: the store's own keys, and the files of the journals.

The store keeps a counter of a calendar window as one string, MessagePack of {slot, pressed, (index, generation, used,
held, spare)...}, under 16 bytes after the gateway's prefix, and who has which index in a hash of (index, ...) by owner
in hex; see store/ledger.lua. A run has two counters: of tokens, and of micro-dollars, of which there are always more.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ledger_chaos.fleet import GATEWAY, Fleet
from redis_parts.redis_server import RedisServer
from tidegate_dataplane.ledger.journal import _HEADER as HEADER
from tidegate_dataplane.ledger.journal import _OWNER as OWNER
from tidegate_dataplane.ledger.journal import _ROWS as ROWS
from tidegate_dataplane.ledger.journal import COLUMNS, HELD, HIGH, LOW, STATE, USED
from tidegate_dataplane.store.protocol import KEY_BYTES, OWNER_BYTES

_PREFIX = f"tidegate:{{{GATEWAY}}}:".encode()
_LOOK_SECONDS = 1.0
_ENTRY = 5
_HEAD = 2
_UNTIL = 4
"""In the state: until when nothing is granted; 0 in good times."""


@dataclass
class Figures:
    """Tokens and micro-dollars. `of_owner` is what each has used, by owner id; who has used nothing is left out."""

    used: tuple[int, int] = (0, 0)
    firm: tuple[int, int] = (0, 0)
    granted: tuple[int, int] = (0, 0)
    of_owner: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    owners: tuple[bytes, ...] = ()

    def of_plane(self, number: int) -> tuple[int, int]:
        """Of journals: what a plane has used, by its number."""
        return self.of_owner.get(self.owners[number], (0, 0))


@dataclass(frozen=True)
class _Sums:
    used: int
    firm: int
    granted: int
    of_owner: dict[bytes, int]


class LedgerView:
    """Looks into one Redis."""

    def __init__(self, redis: RedisServer) -> None:
        self._turn = asyncio.Lock()
        self._client = Redis(
            host="127.0.0.1",
            port=redis.port,
            socket_connect_timeout=0.2,
            socket_timeout=0.2,
            retry=Retry(NoBackoff(), 0),
        )

    async def look(self) -> Figures | None:
        """None while Redis does not answer."""
        async with self._turn:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    return await self._look()
            except (RedisError, OSError):
                await self._client.connection_pool.disconnect()
                return None

    async def _look(self) -> Figures:
        keys = [key async for key in self._client.scan_iter(count=100) if len(key) == len(_PREFIX) + KEY_BYTES]
        values = await self._client.mget(keys) if keys else []
        rows = await self._client.hgetall((_PREFIX + b"owners").decode())
        names = {msgspec.msgpack.decode(row)[0]: bytes.fromhex(owner.decode()) for owner, row in _bytes(rows)}
        return _figures([_sums(_entries(value), names) for value in values if isinstance(value, bytes)])

    async def close(self) -> None:
        await self._client.aclose()


async def until_built(redis: RedisServer, *, deadline: float = 20.0) -> None:
    """Wait until a new store grants: planes come first to tell what they know. Raises TimeoutError."""
    client = redis.client()
    try:
        async with asyncio.timeout(deadline):
            built = False
            while not built:
                built = _is_built(await client.get((_PREFIX + b"state").decode()))
                await asyncio.sleep(0.1)
    finally:
        await client.aclose()


def _is_built(state: bytes | str | None) -> bool:
    return isinstance(state, bytes) and msgspec.msgpack.decode(state)[_UNTIL] == 0


def _bytes(found: Mapping[Any, Any]) -> Iterator[tuple[bytes, bytes]]:
    """What a client that decodes nothing returns, in types."""
    for key, value in found.items():
        yield bytes(key), bytes(value)


def _entries(value: bytes) -> list[int]:
    return [int(number) for number in msgspec.msgpack.decode(value)[_HEAD:]]


def _sums(entries: list[int], names: dict[int, bytes]) -> _Sums:
    """Index 0 stands for planes that are missing, of which nothing is known but what they were granted."""
    used = firm = granted = 0
    of_owner: dict[bytes, int] = {}
    for at in range(0, len(entries), _ENTRY):
        index, _, its_used, held, spare = entries[at : at + _ENTRY]
        used += its_used
        firm += its_used + (held if index else 0)
        granted += its_used + held + spare
        if its_used and index in names:
            of_owner[names[index]] = its_used
    return _Sums(used, firm, granted, of_owner)


def journal_figures(fleet: Fleet) -> Figures:
    """What the journals of all planes say."""
    parts: dict[tuple[int, int], dict[bytes, tuple[int, int]]] = {}
    owners = []
    for plane in fleet.planes:
        owner, rows = read_journal(journal_file(plane.folder / "journal"))
        owners.append(owner)
        for key, used, held in rows:
            parts.setdefault(key, {})[owner] = (used, used + held)
    sums = [
        _Sums(
            sum(used for used, _ in part.values()),
            sum(firm for _, firm in part.values()),
            0,
            {owner: used for owner, (used, _) in part.items() if used},
        )
        for part in parts.values()
    ]
    figures = _figures(sums)
    figures.owners = tuple(owners)
    return figures


def journal_file(path: Path) -> Path:
    """The journal in the folder that `--journal` names."""
    return next(file for file in sorted(path.iterdir()) if file.is_file()) if path.is_dir() else path


def read_journal(path: Path) -> tuple[bytes, list[tuple[tuple[int, int], int, int]]]:
    """The owner, and (key, used, held) of each row, while the process goes on writing or when it was killed."""
    data = path.read_bytes()
    cells = struct.unpack(f"={len(data) // 8}q", data)
    owner = data[OWNER * 8 : OWNER * 8 + OWNER_BYTES]
    rows = []
    for row in range(cells[ROWS]):
        at = HEADER + row * COLUMNS
        if cells[at + STATE]:
            rows.append(((cells[at + LOW], cells[at + HIGH]), cells[at + USED], cells[at + HELD]))
    return owner, rows


def _figures(sums: Iterable[_Sums]) -> Figures:
    """Of two counters; a token costs many micro-dollars, so the larger one is money."""
    first, second = sorted([*sums, *(_Sums(0, 0, 0, {}) for _ in range(2))], key=lambda each: each.granted + each.used)[
        -2:
    ]
    owners = {*first.of_owner, *second.of_owner}
    return Figures(
        (first.used, second.used),
        (first.firm, second.firm),
        (first.granted, second.granted),
        {owner: (first.of_owner.get(owner, 0), second.of_owner.get(owner, 0)) for owner in owners},
    )
