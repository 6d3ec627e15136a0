"""Snapshots and credentials straight from the Kubernetes API: the fast path.

Watches the index, fetches the shards whose digest is new, and offers the whole. A second index may name data planes
that shall try it before the others. Needs get, list and watch on both, on the shards and the credentials Secret by
name, and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.bundle import (
    INDEX_KEY,
    PLANES_KEY,
    Bundle,
    canary_config_map,
    credentials_secret,
    index_config_map,
    shard_config_map,
    shard_key,
)
from tidegate_dataplane.snapshot.codec import SnapshotRefused, decode_index
from tidegate_dataplane.snapshot.entries import ShardRef
from tidegate_dataplane.source.api_client import ApiClient, ApiRefused
from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.source.state import Health, SourceState
from tidegate_dataplane.source.watch import SILENCE_SECONDS, ConfigMap, NamedObject, ObjectWatch
from tidegate_dataplane.upstream import UpstreamError

NAME = "api"
_FETCHES_AT_ONCE = 8
_NOT_FOUND = 404
_log = logging.getLogger(__name__)


class _Planes(msgspec.Struct):
    """Which data planes try an index, and in which trial."""

    trial: int
    planes: list[str]


@dataclass(frozen=True, slots=True)
class _Tried:
    index: bytes
    revision: int
    trial: int
    planes: frozenset[str]


def _read_tried(found: NamedObject) -> _Tried | None:
    """What is tried; None when nothing is, or it cannot be read: then the published index is right."""
    index = found.values.get(INDEX_KEY, b"")
    try:
        named = msgspec.json.decode(found.values.get(PLANES_KEY, b""), type=_Planes)
        return _Tried(index, decode_index(index).revision, named.trial, frozenset(named.planes))
    except (msgspec.DecodeError, UnicodeDecodeError, SnapshotRefused):
        return None


class KubernetesSource:
    """Follows what the operator publishes for `gateway` in `namespace`."""

    def __init__(
        self,
        api: ApiClient,
        *,
        gateway: str,
        namespace: str,
        reloader: Reloader,
        credentials: Credentials,
        silence: float = SILENCE_SECONDS,
        instance: Callable[[], str] = str,
        on_trial: Callable[[int], None] = lambda number: None,
    ) -> None:
        """`instance` is the name by which an index that is tried may name this data plane; `on_trial` hears the number
        of the trial that is on, 0 when there is none."""
        self._instance = instance
        self._on_trial = on_trial
        self._tried: _Tried | None = None
        self._api = api
        self._gateway = gateway
        self._namespace = namespace
        self._reloader = reloader
        self._credentials = credentials
        self._silence = silence
        self._index: NamedObject | None = None
        self._news = asyncio.Event()
        self._fetches = asyncio.Semaphore(_FETCHES_AT_ONCE)
        self.state = SourceState("api:index")
        self.trial_state = SourceState("api:rollout")
        self.credentials_state = SourceState("api:credentials")
        self.shards_state = SourceState("api:shards")

    @property
    def states(self) -> tuple[SourceState, ...]:
        return (self.state, self.shards_state, self.trial_state, self.credentials_state)

    async def run(self) -> None:
        """Follow until cancelled."""
        index = ObjectWatch(
            self._api,
            namespace=self._namespace,
            kind="configmaps",
            name=index_config_map(self._gateway),
            on_change=self._index_changed,
            state=self.state,
            silence=self._silence,
        )
        secret = ObjectWatch(
            self._api,
            namespace=self._namespace,
            kind="secrets",
            name=credentials_secret(self._gateway),
            on_change=self._credentials_changed,
            state=self.credentials_state,
            silence=self._silence,
        )
        tried = ObjectWatch(
            self._api,
            namespace=self._namespace,
            kind="configmaps",
            name=canary_config_map(self._gateway),
            on_change=self._trial_changed,
            state=self.trial_state,
            silence=self._silence,
        )
        async with asyncio.TaskGroup() as group:
            # Credentials first: a snapshot may name one that came with it.
            group.create_task(secret.run())
            group.create_task(index.run())
            group.create_task(tried.run())
            group.create_task(self._load())

    def _index_changed(self, index: NamedObject | None) -> None:
        self._index = index
        self._news.set()

    def _trial_changed(self, tried: NamedObject | None) -> None:
        self._tried = None if tried is None else _read_tried(tried)
        self._on_trial(0 if self._tried is None else self._tried.trial)
        self._news.set()

    def _newest(self) -> bytes | None:
        """The published index, or the one that is tried when that is higher and names this data plane."""
        index = None if self._index is None else self._index.values.get(INDEX_KEY)
        tried = self._tried
        if index is None or tried is None or self._instance() not in tried.planes:
            return index
        try:
            return tried.index if tried.revision > decode_index(index).revision else index
        except SnapshotRefused:
            return index

    def _credentials_changed(self, secret: NamedObject | None) -> None:
        self._credentials.replace(NAME, None if secret is None else secret.values)

    async def _load(self) -> None:
        """Offer the newest index; what was incomplete or refused is tried again, for the shards may be put right."""
        backoff = Backoff()
        while True:
            await self._news.wait()
            self._news.clear()
            backoff.reset()
            while not await self._offer():
                try:
                    async with asyncio.timeout(backoff.wait()):
                        await self._news.wait()
                except TimeoutError:
                    continue
                break

    async def _offer(self) -> bool:
        """Return whether the newest index is dealt with."""
        index = self._newest()
        if index is None:
            self.shards_state.set(
                Health.WAITING, f"no ConfigMap {index_config_map(self._gateway)} with {INDEX_KEY} yet"
            )
            return True
        try:
            shards = await self._fetch_shards(index)
            outcome = await self._reloader.offer(Bundle(index, shards), source=NAME)
        except (UpstreamError, ApiRefused, OSError, msgspec.DecodeError) as error:
            self.shards_state.set(Health.FAILING, str(error))
            _log.warning("cannot fetch the shards, trying again: %s", error)
            return False
        if outcome is Outcome.INCOMPLETE:
            self.shards_state.set(Health.WAITING, "the shards that the index names are not there yet")
        elif outcome is Outcome.REFUSED:
            self.shards_state.set(Health.FAILING, "refused, see lastRefusal")
        else:
            self.shards_state.set(Health.FOLLOWING)
        return outcome in (Outcome.LOADED, Outcome.UNCHANGED)

    async def _fetch_shards(self, index: bytes) -> dict[str, bytes]:
        try:
            wanted = [ref for ref in decode_index(index).shards if not self._reloader.holds(ref.sha256)]
        except SnapshotRefused:
            return {}  # the reloader will say why
        found = await asyncio.gather(*(self._fetch(ref) for ref in wanted))
        return {ref.name: data for ref, data in zip(wanted, found, strict=True) if data}

    async def _fetch(self, ref: ShardRef) -> bytes:
        """Return b"" while the ConfigMap, or this version of the shard in it, is not there."""
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{shard_config_map(self._gateway, ref.name)}"
        async with self._fetches:
            try:
                body = await self._api.get(path)
            except ApiRefused as refused:
                if refused.status == _NOT_FOUND:
                    return b""
                raise
        values = msgspec.json.decode(body, type=ConfigMap).named().values
        return values.get(shard_key(ref.name, ref.sha256), b"")
