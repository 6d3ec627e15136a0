"""From the bytes of a snapshot to the Runtime in force.

Decodes only shards whose digest changed, builds in a worker thread, and swaps with one assignment. Whatever is wrong,
the Runtime before stays in force and the reason can be read. A Runtime is never made of parts of two revisions.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import Refusal, SnapshotRefused, decode_index, decode_shard, digest
from tidegate_dataplane.snapshot.entries import Index, Shard

_log = logging.getLogger(__name__)

# Python passes the interpreter on only this often while a build computes, in seconds. The default of 5 ms would add
# that much to every request that arrives meanwhile.
SWITCH_INTERVAL = 0.0005


class Outcome(StrEnum):
    """What became of a snapshot that was offered. BEHIND: another source has delivered a newer one, as a mounted volume
    always lags behind the API."""

    LOADED = "Loaded"
    UNCHANGED = "Unchanged"
    BEHIND = "Behind"
    INCOMPLETE = "Incomplete"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class LastRefusal:
    """Why a snapshot was not taken. `revision` is None when not even that could be read; `at` in epoch seconds."""

    reason: Refusal
    message: str
    revision: int | None
    source: str
    at: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """The snapshot in force: its head, its decoded shards by digest, and what was built of it."""

    index: Index
    index_digest: str
    shards: Mapping[str, Shard]
    runtime: Runtime
    source: str
    at: float
    seconds: float


class Reloader:
    """The one door through which snapshots come in, from every source. Belongs to one event loop.

    `runtime` is what requests use: None until the first snapshot was taken.
    """

    def __init__(
        self,
        gateway: str,
        *,
        clock: Callable[[], float] = time.time,
        on_outcome: Callable[[Outcome], object] = lambda outcome: None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._on_outcome = on_outcome
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reload")
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.runtime: Runtime | None = None
        self.loaded: Loaded | None = None
        self.last_refusal: LastRefusal | None = None
        self.refusals = 0

    @property
    def revision(self) -> int:
        """The revision in force; 0 before the first."""
        return 0 if self.loaded is None else self.loaded.index.revision

    def holds(self, sha256: str) -> bool:
        """Whether the shard with this digest is decoded already, so that a source need not fetch it."""
        return self.loaded is not None and sha256 in self.loaded.shards

    async def offer(self, bundle: Bundle, *, source: str = "memory") -> Outcome:
        """Take a snapshot if it is valid and not older. Shards that `holds` says are here may be left out.

        Never raises for what the bundle holds: see `last_refusal`. INCOMPLETE means: offer again when the missing
        shards are there.
        """
        async with self._lock:
            try:
                outcome = await self._take(bundle, source)
            except SnapshotRefused as refused:
                self.refuse(refused, source=source, revision=_revision(bundle))
                outcome = Outcome.REFUSED
            self._on_outcome(outcome)
            return outcome

    def refuse(self, refused: SnapshotRefused, *, source: str, revision: int | None = None) -> None:
        """Record that a snapshot cannot be taken; the same refusal again is not counted again."""
        last = self.last_refusal
        found = (refused.reason, refused.message, revision)
        if last is not None and (last.reason, last.message, last.revision) == found:
            return
        self.refusals += 1
        self.last_refusal = LastRefusal(refused.reason, refused.message, revision, source, self._clock())
        _log.warning("a snapshot from %s was refused, revision %d stays: %s", source, self.revision, refused)
        self._announce()

    async def wait_for_change(self) -> None:
        """Return when a snapshot was taken or refused, or when `wake` was called."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let those who wait for a change look again: what they also wait for has changed."""
        self._announce()

    def close(self) -> None:
        """Let the worker go; a build that runs is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _take(self, bundle: Bundle, source: str) -> Outcome:
        index_digest = digest(bundle.index)
        before = self.loaded
        if before is not None and before.index_digest == index_digest:
            return Outcome.UNCHANGED
        index = decode_index(bundle.index)
        if self._is_behind(index, before, source):
            return Outcome.BEHIND
        have = {} if before is None else before.shards
        if any(ref.sha256 not in have and ref.name not in bundle.shards for ref in index.shards):
            return Outcome.INCOMPLETE
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        with _SmallSwitchInterval():
            shards, runtime = await loop.run_in_executor(self._worker, _load, index, bundle, have, self.runtime)
        seconds = time.perf_counter() - started
        self.loaded = Loaded(index, index_digest, shards, runtime, source, self._clock(), seconds)
        self.runtime = runtime
        if before is None:
            # The first and largest Runtime lives on: the garbage collector need not walk it again and again.
            gc.collect()
            gc.freeze()
        self._announce()
        _log.info("serving revision %d from %s (%.0f ms)", index.revision, source, seconds * 1000)
        return Outcome.LOADED

    def _is_behind(self, index: Index, before: Loaded | None, source: str) -> bool:
        """Raises SnapshotRefused for another gateway's snapshot, and when a source goes back behind its own."""
        if index.gateway != self._gateway:
            raise SnapshotRefused(
                Refusal.WRONG_GATEWAY, f"the snapshot is for gateway {index.gateway!r}, this is {self._gateway!r}"
            )
        if before is None or index.revision > before.index.revision:
            return False
        if source != before.source:
            # Even the same revision: with other bytes, two sources would only make us swing.
            return True
        if index.revision < before.index.revision:
            raise SnapshotRefused(
                Refusal.OLDER_REVISION,
                f"revision {index.revision} is older than {before.index.revision}, which is served",
            )
        return False

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _SmallSwitchInterval:
    def __enter__(self) -> None:
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(self._before)


def _load(
    index: Index, bundle: Bundle, have: Mapping[str, Shard], previous: Runtime | None
) -> tuple[dict[str, Shard], Runtime]:
    """Decode what is new and build. Runs in the worker thread; raises SnapshotRefused."""
    by_digest: dict[str, Shard] = {}
    by_name: dict[str, Shard] = {}
    for ref in index.shards:
        shard = have.get(ref.sha256)
        if shard is None:
            shard = decode_shard(bundle.shards[ref.name], name=ref.name, sha256=ref.sha256)
        by_digest[ref.sha256] = by_name[ref.name] = shard
    try:
        return by_digest, build(index, by_name, previous)
    except Exception as error:
        _log.exception("building revision %d failed", index.revision)
        raise SnapshotRefused(Refusal.BUILD_FAILED, f"revision {index.revision} cannot be built: {error}") from error


def _revision(bundle: Bundle) -> int | None:
    try:
        return decode_index(bundle.index).revision
    except SnapshotRefused:
        return None
