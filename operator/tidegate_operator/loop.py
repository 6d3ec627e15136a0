"""The one loop: when the World or an output changed, compile it, publish it, and say so.

Level-triggered: what is marked is only that something changed. The loop looks at the whole World, so a lost, doubled or
reordered event costs at most time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tidegate_operator.compile.compiled import Compiled, CompileError, Served
from tidegate_operator.compile.compiler import compile_world
from tidegate_operator.compile.lower_lists import has_unread_lists
from tidegate_operator.compile.memo import Memo
from tidegate_operator.keys.issuer import KeyIssuer
from tidegate_operator.kube import API_FAILURES, ApiError, ClusterReplaced
from tidegate_operator.metrics import Metrics
from tidegate_operator.planes import FIRST_ANSWERS_SECONDS, Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.release.releases import Releases
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.world import Facts, World

_log = logging.getLogger(__name__)

QUIET_SECONDS = 0.02
MAX_DELAY_SECONDS = 0.5
# A compilation that took longer than this runs in a thread, so that events and heartbeats are not held up.
OFFLOAD_SECONDS = 0.01
# A cluster that is filled again counts as full after so long a time without a change, and never later than the second.
SETTLED_SECONDS = 15.0
REFILL_SECONDS = 600.0
BACKOFF_SECONDS = (0.2, 0.5, 1, 2, 5, 10)


class Debounce:
    """Lets a burst of changes pass as one: waits for a quiet moment, but not for ever."""

    def __init__(self, *, quiet: float = QUIET_SECONDS, longest: float = MAX_DELAY_SECONDS) -> None:
        self._quiet = quiet
        self._longest = longest
        self._marked = asyncio.Event()
        self._last = 0.0

    def mark(self) -> None:
        """Something changed."""
        self._last = asyncio.get_running_loop().time()
        self._marked.set()

    async def wait(self, at_the_latest: float | None = None) -> bool:
        """Return True a quiet moment after a mark, False when nothing was marked for `at_the_latest` seconds."""
        try:
            async with asyncio.timeout(at_the_latest):
                await self._marked.wait()
        except TimeoutError:
            return False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._longest
        rest = self._quiet
        while rest > 0:
            await asyncio.sleep(rest)
            rest = min(self._last + self._quiet, deadline) - loop.time()
        self._marked.clear()
        return True


@dataclass(slots=True)
class _Memory:
    """What one term of leadership remembers."""

    recovered: bool = False
    stale: bool = False
    served: Served | None = None
    memo: Memo = field(default_factory=Memo)


class Reconciler:
    """Runs the loop while this operator leads."""

    def __init__(
        self,
        *,
        store: Store,
        publisher: Publisher,
        releases: Releases,
        status: StatusWriter,
        issuer: KeyIssuer,
        planes: Planes,
        facts: Facts,
        metrics: Metrics,
        may_write_status: asyncio.Event,
        still_leading: Callable[[], Awaitable[bool]],
        changes: Debounce,
    ) -> None:
        """`changes` is marked by whoever sees that the World, an output, or what data planes run has changed."""
        self._store = store
        self._publisher = publisher
        self._releases = releases
        self._status = status
        self._issuer = issuer
        self._planes = planes
        self._facts = facts
        self._metrics = metrics
        self._may_write_status = may_write_status
        self._still_leading = still_leading
        self._changes = changes
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._last_compile = float("inf")
        self.first_publication = asyncio.Event()

    async def lead(self) -> None:
        """Begin by reading back what is published; reconcile until cancelled or until leadership proves to be lost.

        Raises ClusterReplaced when the cluster proves to be another one.
        """
        memory = _Memory()
        failures = 0
        self._changes.mark()
        try:
            while True:
                await self._changes.wait(_sooner(self._publisher.next_removal(), self._releases.next_due()))
                try:
                    await self._reconcile(memory)
                    failures = 0
                    continue
                except ApiError as error:
                    memory.stale = True
                    if not error.conflict:
                        self._failed(error)
                    elif await self._still_leading():
                        _log.info("somebody changed an output in between, reading it again: %s", error)
                    else:
                        _log.warning("another operator leads now: %s", error)
                        return
                except (*API_FAILURES, CompileError) as error:
                    memory.stale = True
                    self._failed(error)
                except ClusterReplaced:
                    raise
                except Exception:  # noqa: BLE001 - see below
                    # What is published stays in force; one poisonous object must not end the operator.
                    memory.stale = True
                    self._metrics.publish_failures.inc()
                    _log.exception("publishing failed unexpectedly and will be tried again")
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
                self._changes.mark()
        finally:
            self._may_write_status.clear()
            self._status.reset()
            self._releases.reset()
            self._issuer.reset()

    def close(self) -> None:
        """Let the compiler's thread go."""
        self._compiler.shutdown(wait=False, cancel_futures=True)

    def _failed(self, error: Exception) -> None:
        self._metrics.publish_failures.inc()
        _log.error("publishing failed and will be tried again: %s", error or type(error).__name__)

    async def _reconcile(self, memory: _Memory) -> None:
        await self._read_back(memory)
        if self._publisher.index_is_gone and not await self._still_leading():
            # Whose cluster that is must be known before anything is created in it.
            raise ApiError(409, "Conflict", "what was published is gone")
        world = self._store.world()
        self._may_write_status.clear()
        try:
            compiled = await self._compile(world, memory)
            memory.served = compiled.served
            plan = await self._releases.plan(compiled, world.secrets)
            with self._metrics.publish_seconds.time():
                floor = self._planes.highest_revision
                published = await self._publisher.publish(
                    plan.compiled, self._facts, floor=floor, staged=plan.staged, stage=plan.stage
                )
        finally:
            self._may_write_status.set()
        self._metrics.published(published.revision, plan.compiled.verdicts.values())
        self._status.published(plan.compiled, world.resources, published.revision, plan.held)
        self._releases.published(plan, published.revision, published.tried)
        self._issuer.published(compiled.generating)
        self.first_publication.set()
        if published.written:
            _log.info(
                "published revision %d: %d objects, %s written",
                published.revision,
                len(compiled.verdicts),
                ", ".join(published.written) if len(published.written) < 5 else f"{len(published.written)} objects",
            )

    async def _read_back(self, memory: _Memory) -> None:
        if not memory.recovered:
            recovered = await self._publisher.recover()
            memory.served = await self._releases.recover(recovered) or Served.from_shards(recovered.shards)
            memory.recovered, memory.stale = True, False
            _log.info("read back revision %d with %d shards", recovered.revision, len(recovered.shards))
            if recovered.live is None:
                # Nothing tells the revision any more but the data planes.
                await self._planes.first_answers(FIRST_ANSWERS_SECONDS)
                if self._planes.highest_revision > 0:
                    await self._settled()
        elif memory.stale:
            await self._publisher.refresh()
            memory.stale = False

    async def _settled(self) -> None:
        """Data planes run a snapshot of which the cluster knows nothing: it was wiped, and is being filled again.

        They go on serving what they have. Half of what was declared would take the other half from their callers.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + REFILL_SECONDS
        _log.warning(
            "data planes run revision %d and nothing is published: waiting until everything is declared again, at most"
            " %.0f s",
            self._planes.highest_revision,
            REFILL_SECONDS,
        )
        while loop.time() < give_up:
            changed = await self._changes.wait(SETTLED_SECONDS)
            if not changed and any(self._store.counts().values()):
                return

    async def _compile(self, world: World, memory: _Memory) -> Compiled:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._last_compile > OFFLOAD_SECONDS or has_unread_lists(world, memory.memo):
            compiled = await loop.run_in_executor(
                self._compiler, compile_world, world, self._facts, memory.served, memory.memo
            )
        else:
            compiled = compile_world(world, self._facts, memory.served, memory.memo)
        self._last_compile = loop.time() - started
        self._metrics.compile_seconds.observe(self._last_compile)
        return compiled


def _sooner(one: float | None, other: float | None) -> float | None:
    """The shorter of two times, where None is never."""
    return min((each for each in (one, other) if each is not None), default=None)
