"""The shared store on Redis or Valkey: one connection, one batch in flight, one deadline, one breaker.

Requests never connect and never wait for a store that is known to be away: a background task connects, probes and
beats. After any failure the connection is thrown away, because an answer that comes late would be taken for the next.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import blake2b, sha1
from importlib.resources import files
from math import inf
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio.connection import Connection
from redis.exceptions import (
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from tidegate_dataplane.store import encoding
from tidegate_dataplane.store.breaker import Breaker
from tidegate_dataplane.store.connect import CONNECT_SECONDS, Connector
from tidegate_dataplane.store.deadline import Deadline
from tidegate_dataplane.store.encoding import EMPTY, Batch, Command, DeclareReply, Header, Reply
from tidegate_dataplane.store.protocol import (
    OWNER_BYTES,
    Answer,
    Declared,
    EpochChanged,
    Line,
    Position,
    Reason,
    Result,
    StoreState,
    StoreUnavailable,
)
from tidegate_dataplane.store.reasons import reason_of
from tidegate_dataplane.store.settings import StoreSettings

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 1.0
# A declaration is not waited for by requests, and a full one is many round trips.
DECLARE_SECONDS: Final = 1.0
DECLARE_ROWS: Final = 256
# A cluster that sends a client on more often than this does not know itself.
_REDIRECTS: Final = 3
_LEDGER: Final = files(__package__).joinpath("ledger.lua").read_bytes()
_CLAIM: Final = b"""
local has = redis.call('GET', KEYS[1])
if has and has ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisStore:
    """A Store (see protocol.py). `start` it from the event loop it is used in, and `aclose` it there.

    `clock` and `chance` are for tests: seconds that never go back, and random numbers of [0, 1).
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        gateway: str,
        position: Position,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises ValueError when the position's owner is not OWNER_BYTES long."""
        if len(position.owner) != OWNER_BYTES:
            raise ValueError(f"an owner is {OWNER_BYTES} bytes")
        self._settings = settings
        self._clock, self._chance = clock, chance
        self._connector = Connector(settings)
        self._command = Command(gateway, _LEDGER, sha1(_LEDGER, usedforsecurity=False).hexdigest().encode())
        self._owner = position.owner
        self._owner_hex = position.owner.hex()
        # Rising over restarts even if the journal missed the last ones; the store tells if it was not enough.
        self._sequence = max(position.sequence, time.time_ns() // 1000)
        self._acknowledged, self._epoch = position.acknowledged, position.epoch
        self._nonce = secrets.token_bytes(8)
        self._connection: Connection | None = None
        self._fresh = True
        self._version = 0
        self._known: frozenset[bytes] = frozenset()
        self._breaker = Breaker(clock())
        self._must_declare = False
        self._confirmed_at = -inf
        self._sent_at = -inf
        self._alive = 0
        self._exchanging = False
        self._turn = asyncio.Lock()
        self._lost = asyncio.Event()
        self._call: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    # What callers see.

    async def start(self) -> None:
        """See Store."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="shared store")

    async def aclose(self) -> None:
        """See Store."""
        self._breaker.failed(Reason.CLOSED, self._clock())
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._breaker.failed(Reason.CLOSED, self._clock())
        await self._drop()

    @property
    def state(self) -> StoreState:
        """See Store."""
        breaker = self._breaker
        return StoreState(
            connected=not breaker.open,
            reason=breaker.reason,
            since=breaker.since,
            confirmed_at=self._confirmed_at,
            must_declare=self._must_declare,
            owners=self._alive,
            opened=breaker.opened,
        )

    @property
    def position(self) -> Position:
        """See Store."""
        return Position(self._owner, self._sequence, self._acknowledged, self._epoch)

    @property
    def known_owners(self) -> frozenset[bytes]:
        """See Store."""
        return self._known

    def on_epoch_changed(self, call: Callable[[], None]) -> None:
        """See Store."""
        self._call = call

    async def exchange(self, decisions: Sequence[Sequence[Line]]) -> Answer:
        """See Store."""
        self._refuse_when_away()
        if self._must_declare:
            raise EpochChanged
        if self._exchanging:
            raise RuntimeError("one batch at a time: build the next one when this one is answered")
        self._exchanging = True
        try:
            reply = await self._within(self._settings.deadline, self._exchange(encoding.batch(decisions)))
        finally:
            self._exchanging = False
        return Answer(reply.epoch, reply.server_ms, reply.owners, reply.results)

    async def declare(self, rows: Sequence[Declared], known_owners: Collection[bytes] | None) -> list[Result]:
        """See Store."""
        self._refuse_when_away()
        known = None if known_owners is None else [owner.hex() for owner in known_owners]
        results: list[Result] = []
        for start in range(0, len(rows), DECLARE_ROWS):
            batch = encoding.declaration(rows[start : start + DECLARE_ROWS])
            step = self._declare(batch, begin=start == 0, final=False, known=known)
            results += (await self._within(DECLARE_SECONDS, step)).results
        # The last call has no rows: rows are believed as long as the store waits, and this ends the waiting.
        step = self._declare(EMPTY, begin=not rows, final=True, known=known)
        await self._within(DECLARE_SECONDS, step)
        self._must_declare = False
        return results

    async def claim(self, name: str, seconds: float) -> bool:
        """See Store."""
        self._refuse_when_away()
        digest = blake2b(name.encode(), digest_size=16).digest()
        command = self._command.claim(_CLAIM, digest, self._owner + self._nonce, max(1, int(seconds * 1000)))
        answer = await self._within(self._settings.deadline, self._send_in_turn(command))
        return bool(answer == 1)

    # One call at a time, each within its deadline; whatever goes wrong opens the breaker.

    def _refuse_when_away(self) -> None:
        if self._breaker.open:
            raise StoreUnavailable(self._breaker.reason)

    async def _within(self, seconds: float, step: Awaitable[_T]) -> _T:
        try:
            async with Deadline(seconds):
                return await step
        except EpochChanged:
            self._found_epoch_changed()
            raise
        except (TimeoutError, RedisError, OSError, msgspec.MsgspecError) as error:
            reason = reason_of(error)
            if isinstance(error, MovedError):
                self._connector.moved(error.host, error.port)
            await self._failed(reason)
            raise StoreUnavailable(reason) from None
        except asyncio.CancelledError:
            # The answer is still to come, and would be taken for the next one's.
            await self._failed(Reason.LOST)
            raise

    async def _send_in_turn(self, command: bytes) -> Any:
        async with self._turn:
            return await self._send(command)

    async def _send(self, command: bytes) -> Any:
        connection = self._connection
        if connection is None:
            raise ConnectionResetError
        await connection.send_packed_command(command, check_health=False)
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)

    async def _run(self, build: Callable[[Header, bool], bytes]) -> bytes:
        """Send a batch; the script's text goes with it once when the server does not know it."""
        async with self._turn:
            self._sequence += 1
            header = Header(
                self._owner_hex, self._sequence, self._acknowledged, self._epoch, self._fresh, self._version
            )
            self._sent_at = self._clock()
            try:
                answer = await self._send(build(header, False))
            except NoScriptError:
                answer = await self._send(build(header, True))
        if not isinstance(answer, bytes):
            raise ResponseError("not an answer of the script")
        return answer

    async def _exchange(self, batch: Batch) -> Reply:
        for _ in range(2):
            sent = await self._run(lambda header, whole: self._command.script(header, batch, whole=whole))
            reply = encoding.decode_reply(sent)
            if reply.code == encoding.OK:
                self._learn(reply)
                self._confirmed_at = self._sent_at
                return reply
            self._refused(reply)
        raise ResponseError("the store has seen later batches of this owner")

    async def _declare(self, batch: Batch, *, begin: bool, final: bool, known: list[str] | None) -> DeclareReply:
        declare = (begin, final, known)
        for _ in range(2):
            sent = await self._run(
                lambda header, whole: self._command.script(header, batch, whole=whole, declare=declare)
            )
            reply = encoding.decode_declare_reply(sent)
            if reply.code == encoding.OK:
                self._learn(reply)
                return reply
            self._refused(reply)
        raise ResponseError("the store has seen later batches of this owner")

    def _learn(self, reply: Reply | DeclareReply) -> None:
        self._acknowledged, self._epoch = self._sequence, reply.epoch
        self._alive = reply.owners
        self._fresh = False
        if reply.version != self._version:
            self._version = reply.version
            self._known = frozenset(bytes.fromhex(member) for member in reply.members)

    def _refused(self, reply: Reply | DeclareReply) -> None:
        """Raises EpochChanged; returns when the batch may be sent again under a later number."""
        if reply.code == encoding.MUST_DECLARE:
            raise EpochChanged
        logger.warning("the shared store has seen later batches of this data plane: is its journal an old copy?")
        self._sequence = max(self._sequence, reply.epoch)

    # What became of the store.

    def _found_epoch_changed(self) -> None:
        if not self._must_declare:
            self._must_declare = True
            if self._epoch:
                logger.warning("the shared store restarted, failed over or lost data: declaring what is counted here")
            if self._call is not None:
                self._call()

    async def _failed(self, reason: Reason) -> None:
        if self._breaker.failed(reason, self._clock()):
            logger.warning(
                "the shared store at %s cannot be used (%s): limits follow their failureMode", self._settings, reason
            )
        await self._drop()
        self._lost.set()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    # The background: connect, probe, beat.

    async def _keep(self) -> None:
        while True:
            try:
                await self._keep_once()
            except Exception:
                logger.exception("looking after the shared store failed, and goes on")
                await self._failed(Reason.ERROR)
                await asyncio.sleep(BEAT_SECONDS)

    async def _keep_once(self) -> None:
        if self._breaker.open:
            await asyncio.sleep(self._breaker.delay(self._chance()))
            await self._probe()
            return
        self._lost.clear()
        idle = self._sent_at + BEAT_SECONDS - self._clock()
        if idle <= 0:
            await self._beat()
            return
        try:
            await asyncio.wait_for(self._lost.wait(), idle)
        except TimeoutError:
            pass

    async def _probe(self) -> None:
        for _ in range(_REDIRECTS + 1):
            await self._probe_once()
            if not self._connector.redirected:
                return

    async def _probe_once(self) -> None:
        await self._drop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._connection = await self._connector.connect()
        except (TimeoutError, RedisError, OSError, ValueError) as error:
            # ValueError: a host or a password that cannot be encoded.
            await self._failed(reason_of(error))
            return
        self._fresh = True
        if await self._beat() and self._breaker.succeeded(self._clock()):
            logger.info("the shared store at %s is in use", self._settings)

    async def _beat(self) -> bool:
        """True when the store answered in time, whatever."""
        try:
            await self._within(self._settings.deadline, self._exchange(EMPTY))
        except EpochChanged:
            return True
        except StoreUnavailable:
            return False
        return True
