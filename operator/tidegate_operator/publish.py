"""Writes a compiled snapshot: shards first, the credentials that it needs, the index last; then tidies up.

Every write names the resourceVersion that it replaces, so a leader that has been overtaken fails instead of overwriting
its successor. Equal contents are never written again.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from tidegate_dataplane.snapshot.bundle import INDEX_KEY, PLANES_KEY
from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, SnapshotRefused, decode_index, encode_index
from tidegate_dataplane.snapshot.entries import Index, ShardRef
from tidegate_operator.compile.compiled import Compiled, CompileError, EncodedShard
from tidegate_operator.compile.publication import index_of, make_index
from tidegate_operator.ingest import ConfigMapListing, ConfigMapObject, SecretObject, decoded
from tidegate_operator.kube import CONFIG_MAPS, SECRETS, Api, ApiError
from tidegate_operator.outputs import (
    GATEWAY_LABEL,
    SUMMARY_KEY,
    Gateway,
    Live,
    Output,
    Recovered,
    config_map_body,
    config_map_output,
    orphans,
    recover,
    secret_body,
    secret_output,
    shard_values,
    summary,
)
from tidegate_operator.release.planning import Staged
from tidegate_operator.release.stage import NO_STAGE, STAGE_KEY, Phase, Stage, encode_stage
from tidegate_operator.verdicts import Verdict
from tidegate_operator.versioned import Versioned
from tidegate_operator.world import Facts, Kind

_log = logging.getLogger(__name__)

T = TypeVar("T")

CONCURRENCY = 8
# Data planes that read the index before may still be fetching shards that the next index no longer names.
GRACE_SECONDS = 30.0
_TRIED_KEYS = frozenset({INDEX_KEY, PLANES_KEY, STAGE_KEY})


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: the revision in force and what was written (names of ConfigMaps and the Secret). `tried` is the
    revision that some data planes try, 0 for none."""

    revision: int
    written: tuple[str, ...]
    tried: int = 0


class Publisher:
    """Keeps the operator's own objects as they should be. Single-threaded; `publish` must not run twice at once."""

    def __init__(self, api: Api, gateway: Gateway, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._gateway = gateway
        self._clock = clock
        self._seen: Versioned[str, Output] = Versioned()
        self._secret: Versioned[str, Output] = Versioned()
        self._credentials: dict[str, bytes] = {}
        self._live: Live | None = None
        self._attempted: Live | None = None
        self._unread: Live | None = None
        # What some data planes try, and what the ConfigMap says of it.
        self._tried: Live | None = None
        self._tried_data: Mapping[str, str] = {}
        self._index_data: Mapping[str, str] = {}
        self._floor = 0
        self._orphaned: dict[str, float] = {}

    @property
    def gateway(self) -> Gateway:
        return self._gateway

    @property
    def revision(self) -> int:
        """The published revision; 0 before the first."""
        return self._live.revision if self._live else 0

    @property
    def highest(self) -> int:
        """The highest revision that is given to any data plane."""
        return max(self.revision, self._tried.revision if self._tried else 0)

    @property
    def index_is_gone(self) -> bool:
        """Whether an index was published and somebody, or another etcd, took it away."""
        return self._live is not None and self._seen.get(self._gateway.index_name) is None

    def see_config_map(self, item: ConfigMapObject) -> bool:
        """Take what a list or the watch says of one of our ConfigMaps; True when that is not what should be there."""
        output = config_map_output(item)
        name = item.metadata.name
        if not self._seen.put(name, item.metadata.version, output):
            return False
        return not output.holds(self._expected(name))

    def forget_config_map(self, name: str, version: int) -> bool:
        """Take a deletion; True when it should be there."""
        return self._seen.drop(name, version) and bool(self._expected(name))

    def see_secret(self, item: SecretObject) -> bool:
        """As `see_config_map`, for the credentials Secret."""
        output = secret_output(item)
        if not self._secret.put(item.metadata.name, item.metadata.version, output):
            return False
        return not output.holds(self._credentials)

    def forget_secret(self, name: str, version: int) -> bool:
        """As `forget_config_map`, for the credentials Secret."""
        return self._secret.drop(name, version) and bool(self._credentials)

    async def recover(self) -> Recovered:
        """Read everything back, verified, when leadership begins; the next `publish` continues from it."""
        self._credentials = {}
        config_maps = await self.refresh()
        recovered = recover(self._gateway, config_maps)
        for damage in recovered.damage:
            _log.warning("the published snapshot is damaged and will be repaired: %s", damage)
        self._live, self._attempted, self._unread = recovered.live, None, recovered.unread
        self._tried, self._tried_data = None, {}
        self._floor = recovered.revision
        self._orphaned.clear()
        return recovered

    async def refresh(self) -> dict[str, ConfigMapObject]:
        """List our outputs again and take them in; returns the ConfigMaps by name."""
        gateway, items, version = self._gateway, dict[str, ConfigMapObject](), 0
        path = CONFIG_MAPS.path(gateway.namespace)
        async for page in self._api.pages(path, ConfigMapListing, labelSelector=f"{GATEWAY_LABEL}={gateway.name}"):
            version = int(page.metadata.resource_version)
            items |= {item.metadata.name: item for item in page.items}
        # By name too: an index whose label somebody removed is still the index.
        index = await self._find(CONFIG_MAPS.path(gateway.namespace, gateway.index_name), ConfigMapObject)
        if index is not None:
            items[index.metadata.name] = index
        for item in items.values():
            self.see_config_map(item)
        self._seen.vanished(items.keys(), version)
        secret = await self._find(SECRETS.path(gateway.namespace, gateway.credentials_name), SecretObject)
        if secret is None:
            self._secret.drop(gateway.credentials_name, self._secret.version(gateway.credentials_name))
        else:
            self.see_secret(secret)
            if not self._credentials:
                self._credentials = decoded(secret.data)
        return items

    async def audit(self) -> list[str]:
        """Read our outputs again; names of those that are not as they should be."""
        await self.refresh()
        gateway, live = self._gateway, self._live
        if live is None:
            return []
        names = [gateway.index_name, *(gateway.shard_name(shard.name) for shard in live.index.shards)]
        wrong = [name for name in names if not _holds(self._seen.get(name), self._expected(name))]
        if not _holds(self._secret.get(gateway.credentials_name), self._credentials):
            wrong.append(gateway.credentials_name)
        return wrong

    async def publish(
        self,
        compiled: Compiled,
        facts: Facts,
        *,
        floor: int = 0,
        staged: Staged | None = None,
        stage: Stage = NO_STAGE,
    ) -> Published:
        """Make the API hold `compiled`. `floor` is the highest revision that a data plane is known to run. `staged` is
        what some data planes try beside it; without that, `stage` says why nothing is tried.

        Raises ApiError (a conflict when somebody else wrote), whatever else a request raises, and CompileError for
        shards that are too large; what was not written is written by the next call.
        """
        self._settle_attempt()
        index = self._next_index(compiled, facts, floor, trying=staged is not None)
        index_bytes = encode_index(index)
        index_data = {
            INDEX_KEY: index_bytes.decode(),
            SUMMARY_KEY: summary(index, _served_counts(compiled.verdicts.values())),
        }
        written = await self._write_shards(compiled.shards, index.revision)
        if await self._write_credentials({**self._credentials, **compiled.credentials}):
            written.append(self._gateway.credentials_name)
        self._attempted = Live(index, index_bytes, {shard.name: shard.data for shard in compiled.shards})
        if await self._write_index(index_data):
            written.append(self._gateway.index_name)
        self._live, self._attempted, self._index_data = self._attempted, None, index_data
        self._unread = None
        if await self._write_credentials(compiled.credentials):
            written.append(self._gateway.credentials_name)
        written += await self._write_tried(facts, staged, stage)
        await self._remove_orphans(index)
        return Published(index.revision, tuple(written), self._tried.revision if self._tried else 0)

    def _settle_attempt(self) -> None:
        """An index whose writing seemed to fail may have been written all the same."""
        seen = self._seen.get(self._gateway.index_name)
        if self._attempted is not None and seen is not None and seen.index == self._attempted.index_bytes:
            self._live, self._attempted = self._attempted, None

    def _expected(self, name: str) -> Mapping[str, bytes]:
        """What a ConfigMap must hold for the published index."""
        live = self._live
        if live is None:
            return {}
        if name == self._gateway.index_name:
            summary_text = self._index_data.get(SUMMARY_KEY)
            extra = {} if summary_text is None else {SUMMARY_KEY: summary_text.encode()}
            return {INDEX_KEY: live.index_bytes, **extra}
        if name == self._gateway.canary_name:
            return {key: value.encode() for key, value in self._tried_data.items()}
        found: dict[str, bytes] = {}
        for each in (live, self._tried):
            for reference in each.index.shards if each is not None else ():
                if each and self._gateway.shard_name(reference.name) == name and reference.name in each.shards:
                    found |= shard_values(reference, each.shards[reference.name], ())
        return found

    def _next_index(self, compiled: Compiled, facts: Facts, floor: int, *, trying: bool) -> Index:
        """The index to publish: the one in force when nothing changed, else with a higher revision than any known.

        What some data planes have tried, and all shall have now, keeps its revision: they need not load it again.
        """
        live, tried = self._live, self._tried
        highest = max(self._floor, floor, self._foreign_revision())
        if tried is not None:
            known = highest <= tried.revision
            passed = make_index(compiled, facts, tried.revision)
            if not trying and known and encode_index(passed) == tried.index_bytes:
                return passed
            if not trying:
                # Data planes that try it must take what is published instead.
                highest = max(highest, tried.revision)
            elif known and live is not None:
                highest = min(highest, live.revision)
        if live is not None and highest <= live.revision:
            same = make_index(compiled, facts, live.revision)
            if encode_index(same) == live.index_bytes:
                return same
        return make_index(compiled, facts, max(self.highest, highest) + 1)

    def _foreign_revision(self) -> int:
        """The revision of an index that somebody else put in place of ours: data planes may have taken it."""
        seen = self._seen.get(self._gateway.index_name)
        if seen is None or seen.index is None or (self._live and seen.index == self._live.index_bytes):
            return 0
        try:
            return decode_index(seen.index).revision
        except SnapshotRefused:
            return 0

    async def _write_shards(self, shards: Iterable[EncodedShard], revision: int) -> list[str]:
        writes = []
        for shard in shards:
            if len(shard.data) > MAX_SHARD_BYTES:
                raise CompileError(f"shard {shard.name} has {len(shard.data)} bytes, more than {MAX_SHARD_BYTES}")
            name = self._gateway.shard_name(shard.name)
            reference = ShardRef(name=shard.name, sha256=shard.sha256, size=len(shard.data))
            kept = [each for each in (self._live, self._attempted, self._tried, self._unread) if each]
            values = shard_values(reference, shard.data, kept)
            seen = self._seen.get(name)
            if seen is None or not seen.holds(values):
                body = config_map_body(
                    self._gateway, name, binary=values, revision=revision, version=self._seen.version(name)
                )
                writes.append((name, self._apply_config_map(body)))
        await _all_of(write for _, write in writes)
        return [name for name, _ in writes]

    async def _write_index(self, data: Mapping[str, str]) -> bool:
        name = self._gateway.index_name
        seen = self._seen.get(name)
        if seen is not None and seen.holds({key: value.encode() for key, value in data.items()}):
            return False
        body = config_map_body(self._gateway, name, data=data, version=self._seen.version(name))
        if seen is None:
            # Not by apply: of two leaders that both see no index only one may create it.
            answer = await self._api.create(CONFIG_MAPS.path(self._gateway.namespace), body)
            self._take_config_map(answer)
        else:
            await self._apply_config_map(body)
        return True

    async def _write_tried(self, facts: Facts, staged: Staged | None, stage: Stage) -> list[str]:
        """Give what is tried to those that try it, or take it away; shards first here too."""
        name = self._gateway.canary_name
        seen, written = self._seen.get(name), list[str]()
        if staged is None:
            self._tried = None
            data = {} if stage.phase is Phase.IDLE else {STAGE_KEY: encode_stage(stage)}
            stale = seen is not None and bool(seen.digests.keys() & _TRIED_KEYS - data.keys())
        else:
            tried = self._next_tried(facts, staged)
            written = await self._write_shards(staged.content.shards, tried.revision)
            planes = {"trial": staged.trial or tried.revision, "planes": staged.planes}
            running = Stage(Phase.RUNNING, tried.revision, staged.content.digest, staged.planes)
            data = {
                INDEX_KEY: tried.index_bytes.decode(),
                PLANES_KEY: msgspec.json.encode(planes).decode(),
                STAGE_KEY: encode_stage(running),
            }
            self._tried, stale = tried, False
        self._tried_data = data
        wanted = {key: value.encode() for key, value in data.items()}
        if not stale and ((seen is None and not wanted) or (seen is not None and seen.holds(wanted))):
            return written
        body = config_map_body(self._gateway, name, data=data, version=self._seen.version(name))
        await self._apply_config_map(body)
        return [*written, name]

    def _next_tried(self, facts: Facts, staged: Staged) -> Live:
        """What is tried, under a higher revision than what is published."""
        shards = staged.content.shards
        same = self._tried
        if same is not None and same.revision > self.revision:
            index = index_of(shards, facts, same.revision)
            if encode_index(index) == same.index_bytes:
                return same
        index = index_of(shards, facts, max(self.highest, self._floor) + 1)
        return Live(index, encode_index(index), {shard.name: shard.data for shard in shards})

    async def _write_credentials(self, values: Mapping[str, bytes]) -> bool:
        name = self._gateway.credentials_name
        seen = self._secret.get(name)
        if (seen is None and not values) or (
            seen is not None and seen.holds(values) and self._credentials.keys() <= values.keys()
        ):
            self._credentials = dict(values)
            return False
        body = secret_body(self._gateway, values, version=self._secret.version(name))
        answer = await self._api.apply(SECRETS.path(self._gateway.namespace, name), body)
        item = msgspec.json.decode(answer, type=SecretObject)
        self._secret.put(name, item.metadata.version, secret_output(item))
        self._credentials = dict(values)
        return True

    async def _remove_orphans(self, index: Index) -> None:
        """Delete the ConfigMaps of shards that have not been named for a while."""
        now = self._clock()
        indexes = (index, self._tried.index) if self._tried else (index,)
        found = orphans(self._gateway, self._seen, *indexes)
        self._orphaned = {name: self._orphaned.get(name, now + GRACE_SECONDS) for name in found}
        for name, due in list(self._orphaned.items()):
            if due <= now:
                version = self._seen.version(name)
                path = CONFIG_MAPS.path(self._gateway.namespace, name)
                await self._api.delete(path, resource_version=str(version))
                self._seen.drop(name, version)
                del self._orphaned[name]

    def next_removal(self) -> float | None:
        """Seconds until a ConfigMap that nothing names may be deleted; None when there is none."""
        return max(0.0, min(self._orphaned.values()) - self._clock()) if self._orphaned else None

    async def _apply_config_map(self, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        self._take_config_map(await self._api.apply(CONFIG_MAPS.path(self._gateway.namespace, name), body))

    def _take_config_map(self, answer: bytes) -> None:
        item = msgspec.json.decode(answer, type=ConfigMapObject)
        self._seen.put(item.metadata.name, item.metadata.version, config_map_output(item))

    async def _find(self, path: str, kind: type[T]) -> T | None:
        try:
            return await self._api.get(path, kind)
        except ApiError as error:
            if error.missing:
                return None
            raise


def _holds(output: Output | None, wanted: Mapping[str, bytes]) -> bool:
    return not wanted if output is None else output.holds(wanted)


def _served_counts(verdicts: Iterable[Verdict]) -> list[tuple[str, int]]:
    served = Counter(verdict.key.kind for verdict in verdicts if verdict.served_generation is not None)
    return [(kind.value, served[kind]) for kind in Kind]


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
