"""Keeps the last revisions in the API: contents first, then the list that names them, then what nothing names goes.

It writes after a publication and beside it, so that no publication waits. Whatever moment an operator dies, each
revision that the list names can be read back; the next leader writes down what the one before could not.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from tidegate_dataplane.snapshot.codec import SnapshotRefused
from tidegate_operator.compile.compiled import EncodedShard
from tidegate_operator.ingest import ConfigMapObject, Meta, decoded
from tidegate_operator.kube import CONFIG_MAPS, FIELD_MANAGER, Api, ApiError, ListMeta
from tidegate_operator.outputs import MANAGED_BY_LABEL, Gateway
from tidegate_operator.release.content import Content, read_content
from tidegate_operator.release.history import (
    KEPT_BYTES,
    KEPT_REVISIONS,
    History,
    Record,
    decode_history,
    encode_history,
    with_record,
    without,
)

_log = logging.getLogger(__name__)

HISTORY_KEY = "history.json"
CONTENT_KEY = "shard.json.gz"
# Not the label of what is published: operators from before delete what carries that and stands in no index.
KEPT_LABEL = "tidegate.dev/kept"
CONCURRENCY = 4
RETRY_SECONDS = (0.5, 1, 2, 5, 10, 30)
# However fast revisions follow each other, the list, which may have some 100 KiB, is written only so often.
PAUSE_SECONDS = 1.0
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def history_name(gateway: str) -> str:
    """Name of the ConfigMap that lists the kept revisions."""
    return f"tidegate-{gateway}-history"


def kept_name(gateway: str, sha256: str) -> str:
    """Name of the ConfigMap that keeps the shard with this digest."""
    return f"tidegate-{gateway}-kept-{sha256[:20]}"


class HistoryDamaged(Exception):
    """A kept revision cannot be read back; the message says why."""


class _Partial(msgspec.Struct):
    metadata: Meta


class _Names(msgspec.Struct):
    """meta.k8s.io/v1 PartialObjectMetadataList. An empty one has null for its items."""

    metadata: ListMeta
    items: list[_Partial] | None = None


@dataclass(frozen=True, slots=True)
class _Pending:
    record: Record
    content: Content


class Historian:
    """Remembers revisions. Single-threaded: `recover`, `note` and `fulfil` are for the leader, `run` writes."""

    def __init__(self, api: Api, gateway: Gateway, *, keep: int = KEPT_REVISIONS, most: int = KEPT_BYTES) -> None:
        """`keep` revisions, in at most `most` bytes."""
        self._api = api
        self._gateway = gateway
        self._keep = keep
        self._most = most
        self._history = History()
        self._version = 0
        self._stored: dict[str, int] = {}
        self._pending: list[_Pending] = []
        self._fulfilled = ""
        self._pinned = 0
        self._leading = False
        self._lock = asyncio.Lock()
        self._wakeup = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def history(self) -> History:
        """What is kept, with what is about to be written."""
        history = self._history
        for each in self._pending:
            history = self._with(history, each.record)
        return msgspec.structs.replace(history, fulfilled=self._fulfilled or history.fulfilled)

    @property
    def stored_bytes(self) -> int:
        return self._history.size

    async def recover(self) -> History:
        """Read the list, and which contents are there, when leadership begins. Raises one of API_FAILURES."""
        async with self._lock:
            self._pending.clear()
            self._fulfilled = ""
            await self._read()
            self._leading = True
            return self._history

    def reset(self) -> None:
        """Leadership was lost: write nothing more."""
        self._leading = False
        self._pending.clear()

    def note(self, record: Record, content: Content) -> None:
        """Keep a revision that was published."""
        self._pending.append(_Pending(record, content))
        del self._pending[: -self._keep]
        self._wake()

    def fulfil(self, hold: str) -> None:
        """Git agrees with that wish: it holds nothing any more."""
        self._fulfilled = hold
        self._wake()

    def pin(self, revision: int) -> None:
        """Keep that revision whatever comes; 0 for none."""
        self._pinned = revision

    async def read(self, record: Record) -> Content:
        """The content of a kept revision, each digest checked. Raises HistoryDamaged, or one of API_FAILURES."""
        for pending in self._pending:
            if pending.record.digest == record.digest:
                return pending.content
        gate = asyncio.Semaphore(CONCURRENCY)

        async def fetch(sha256: str) -> bytes:
            async with gate:
                return await self._fetch(sha256)

        try:
            fetched = await asyncio.gather(*(fetch(shard.sha256) for shard in record.shards))
            found = [(shard.name, shard.sha256, data) for shard, data in zip(record.shards, fetched, strict=True)]
            # A quarter of a second for 20,000 objects: events and heartbeats must not be held up.
            return await asyncio.to_thread(read_content, found)
        except SnapshotRefused as refused:
            raise HistoryDamaged(f"revision {record.revision} cannot be read back: {refused.message}") from refused
        except ApiError as error:
            if error.missing:
                raise HistoryDamaged(f"revision {record.revision} cannot be read back: {error.message}") from error
            raise

    async def settled(self) -> None:
        """Return when nothing waits to be written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled; what fails is tried again."""
        failures, loop, last = 0, asyncio.get_running_loop(), -PAUSE_SECONDS
        while True:
            if not self._has_work():
                self._idle.set()
                self._wakeup.clear()
                await self._wakeup.wait()
            await asyncio.sleep(max(0.0, last + PAUSE_SECONDS - loop.time()))
            last = loop.time()
            try:
                async with self._lock:
                    await self._write()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever the defect, what is kept must never end the operator
                delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                _log.warning(
                    "the history could not be written, next attempt in %g s: %s", delay, error or type(error).__name__
                )
                await asyncio.sleep(delay)
                await self._reread()

    def _wake(self) -> None:
        self._idle.clear()
        self._wakeup.set()

    def _has_work(self) -> bool:
        return self._leading and bool(self._pending or self._fulfilled not in ("", self._history.fulfilled))

    def _with(self, history: History, record: Record) -> History:
        return with_record(history, record, keep=self._keep, most=self._most, pinned=self._pinned)

    async def _reread(self) -> None:
        try:
            async with self._lock:
                await self._read()
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("the history could not be read: %s", error or type(error).__name__)

    async def _write(self) -> None:
        if not self._leading:
            return
        pending, wanted = list(self._pending), self.history
        contents = {shard.sha256: shard for each in pending for shard in each.content.shards}
        await _all_of(self._store(contents[sha256]) for sha256 in wanted.digests & contents.keys())
        if wanted != self._history:
            await self._write_list(wanted)
        self._pending = [each for each in self._pending if each not in pending]
        kept = {kept_name(self._gateway.name, sha256) for sha256 in wanted.digests}
        await _all_of(self._remove(name) for name in self._stored.keys() - kept)

    async def _store(self, shard: EncodedShard) -> None:
        name = kept_name(self._gateway.name, shard.sha256)
        if name in self._stored:
            return
        body = self._body(name, {KEPT_LABEL: self._gateway.name})
        body |= {"immutable": True, "binaryData": {CONTENT_KEY: base64.b64encode(shard.data).decode()}}
        try:
            answer = await self._api.create(CONFIG_MAPS.path(self._gateway.namespace), body)
        except ApiError as error:
            if not error.conflict:
                raise
            # It is there: its name is its digest. What it holds is checked whenever it is read.
            answer = await self._api.request("GET", CONFIG_MAPS.path(self._gateway.namespace, name))
        self._stored[name] = msgspec.json.decode(answer, type=_Partial).metadata.version

    async def _write_list(self, history: History) -> None:
        name = history_name(self._gateway.name)
        body = self._body(name, {}) | {"data": {HISTORY_KEY: encode_history(history).decode()}}
        if self._version:
            body["metadata"]["resourceVersion"] = str(self._version)
            answer = await self._api.apply(CONFIG_MAPS.path(self._gateway.namespace, name), body)
        else:
            answer = await self._api.create(CONFIG_MAPS.path(self._gateway.namespace), body)
        self._version = msgspec.json.decode(answer, type=_Partial).metadata.version
        self._history = history

    async def _remove(self, name: str) -> None:
        path = CONFIG_MAPS.path(self._gateway.namespace, name)
        try:
            await self._api.delete(path, resource_version=str(self._stored[name]))
        except ApiError as error:
            if not error.conflict:
                raise
        self._stored.pop(name, None)

    async def _fetch(self, sha256: str) -> bytes:
        path = CONFIG_MAPS.path(self._gateway.namespace, kept_name(self._gateway.name, sha256))
        return decoded((await self._api.get(path, ConfigMapObject)).binary_data).get(CONTENT_KEY, b"")

    async def _read(self) -> None:
        name, history = history_name(self._gateway.name), History()
        try:
            item = await self._api.get(CONFIG_MAPS.path(self._gateway.namespace, name), ConfigMapObject)
        except ApiError as error:
            if not error.missing:
                raise
            self._version = 0
        else:
            self._version = item.metadata.version
            found = decode_history((item.data or {}).get(HISTORY_KEY, "").encode())
            if found is None:
                _log.warning("ConfigMap %s cannot be read and is begun anew: earlier revisions are lost", name)
            history = found or history
        self._stored = {name: version async for name, version in self._list()}
        missing = [digest for digest in history.digests if kept_name(self._gateway.name, digest) not in self._stored]
        self._history = without(history, missing)
        if len(self._history.revisions) < len(history.revisions):
            lost = len(history.revisions) - len(self._history.revisions)
            _log.warning("%d kept revisions are lost: somebody deleted shards that they need", lost)

    async def _list(self) -> AsyncIterator[tuple[str, int]]:
        path, token = CONFIG_MAPS.path(self._gateway.namespace), ""
        while True:
            query = {"labelSelector": f"{KEPT_LABEL}={self._gateway.name}", "limit": "500"}
            more = {"continue": token} if token else {}
            _, answer = await self._api.exchange("GET", path, query=query | more, accept=_METADATA)
            page = msgspec.json.decode(answer, type=_Names)
            for item in page.items or ():
                yield item.metadata.name, item.metadata.version
            token = page.metadata.continue_token
            if not token:
                return

    def _body(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": self._gateway.namespace,
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, **labels},
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def _all_of(writes: Iterable[Awaitable[None]]) -> None:
    """A few at a time. All are tried; the first failure is raised at the end."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def guarded(write: Awaitable[None]) -> None:
        async with gate:
            await write

    outcomes = await asyncio.gather(*(guarded(write) for write in writes), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
