"""Batches as the script takes them, and what it answers. Pure.

One EVALSHA with one MessagePack argument, which Redis' cmsgpack and msgspec both read and write in C. The command is
put together here, because the keys of a batch are many and alike.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from tidegate_dataplane.store.protocol import HOLD_TTL_MS, KEY_BYTES, OWNER_TTL_MS, Declared, Kind, Line, Result

_BUCKET: Final = int(Kind.BUCKET)
_encode: Final = msgspec.msgpack.Encoder().encode

OK: Final = 0
MUST_DECLARE: Final = 1
STALE: Final = 2


class _Reply(Struct, array_like=True, gc=False):
    code: int
    epoch: int = 0
    server_ms: int = 0
    owners: int = 0
    version: int = 0
    members: list[str] = []


class Reply(_Reply, array_like=True, gc=False):
    """What the script answers; with STALE, `epoch` is the last sequence number it has seen."""

    results: list[list[Result]] = []


class DeclareReply(_Reply, array_like=True, gc=False):
    """The same for a declaration: one result for each row."""

    results: list[Result] = []


decode_reply: Final = msgspec.msgpack.Decoder(Reply).decode
decode_declare_reply: Final = msgspec.msgpack.Decoder(DeclareReply).decode


class Header(NamedTuple):
    """Who speaks, and what it knows of the store."""

    owner: str
    sequence: int
    acknowledged: int
    epoch: int
    fresh: bool
    version: int
    owner_ttl_ms: int = OWNER_TTL_MS
    hold_ttl_ms: int = HOLD_TTL_MS


class Batch(NamedTuple):
    """What goes into one call: counters' keys, their shapes and figures, and what is asked of them."""

    keys: list[bytes]
    counters: list[list[int]]
    body: list[list[int]]


EMPTY: Final = Batch([], [], [])


def batch(decisions: Sequence[Sequence[Line]]) -> Batch:
    """Each counter once, with its figures of each slot from the first line that has them; of a BUCKET from all."""
    index: dict[bytes, int] = {}
    keys: list[bytes] = []
    counters: list[list[int]] = []
    body: list[list[int]] = []
    for lines in decisions:
        asked: list[int] = []
        for line in lines:
            key = line.key
            at = index.get(key)
            if at is None:
                keys.append(key)
                at = index[key] = len(keys)
                slot, kind = line.slot, line.kind
                counters.append([kind, line.a, line.b, line.c, slot, line.used, line.firm, line.keep])
            else:
                figures = counters[at - 1]
                if figures[0] == _BUCKET:
                    if line.used or line.keep:
                        figures += (line.slot, line.used, 0, line.keep)
                elif line.slot != figures[4] and line.slot not in figures[4::4]:
                    figures += (line.slot, line.used, line.firm, line.keep)
            asked += (at, line.limit, line.need, line.want)
        body.append(asked)
    return Batch(keys, counters, body)


def declaration(rows: Sequence[Declared]) -> Batch:
    """Rows of counters, each counter's shape once."""
    index: dict[bytes, int] = {}
    keys: list[bytes] = []
    counters: list[list[int]] = []
    body: list[list[int]] = []
    for row in rows:
        at = index.get(row.key)
        if at is None:
            keys.append(row.key)
            at = index[row.key] = len(keys)
            counters.append([row.kind, row.a, row.b, row.c])
        body.append([at, row.slot, row.limit, row.used, row.firm, row.keep, row.total])
    return Batch(keys, counters, body)


class Command:
    """Puts the commands together, for one gateway. `script` is ledger.lua, `digest` its SHA-1 in hex."""

    def __init__(self, gateway: str, script: bytes, digest: bytes) -> None:
        self._prefix = f"tidegate:{{{gateway}}}:".encode()
        self._fixed = b"".join(_bulk(self._prefix + name) for name in (b"state", b"owners", b"alive"))
        # Every counter's key is as long as the others.
        self._key_head = b"$%d\r\n%b" % (len(self._prefix) + KEY_BYTES, self._prefix)
        self._by_digest = _bulk(b"EVALSHA") + _bulk(digest)
        self._by_text = _bulk(b"EVAL") + _bulk(script)

    def script(
        self,
        header: Header,
        batch: Batch,
        *,
        whole: bool = False,
        declare: tuple[bool, bool, list[str] | None] | None = None,
    ) -> bytes:
        """The command for a batch; `whole` sends the script's text. `declare` is (begin, final, known owners)."""
        keys = batch.keys
        begin, final, known = declare if declare is not None else (False, False, [])
        argument = _encode(
            (
                int(declare is not None),
                header.owner,
                header.sequence,
                header.acknowledged,
                header.epoch,
                int(header.fresh),
                header.version,
                header.owner_ttl_ms,
                header.hold_ttl_ms,
                batch.counters,
                batch.body,
                int(begin),
                int(final),
                False if known is None else known,
            )
        )
        count = len(keys)
        number = b"%d" % (count + 3)
        parts = [
            b"*%d\r\n" % (count + 7),
            self._by_text if whole else self._by_digest,
            b"$%d\r\n%b\r\n" % (len(number), number),
            self._fixed,
        ]
        head = self._key_head
        for key in keys:
            parts += (head, key, b"\r\n")
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
        return b"".join(parts)

    def claim(self, script: bytes, name: bytes, value: bytes, milliseconds: int) -> bytes:
        """The command for a claim."""
        parts = (b"EVAL", script, b"1", self._prefix + b"c:" + name, value, b"%d" % milliseconds)
        return b"*%d\r\n" % len(parts) + b"".join(_bulk(part) for part in parts)


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)
