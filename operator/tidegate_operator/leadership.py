"""One writer at a time: a Lease as in Kubernetes' leader election (coordination.k8s.io/v1, client-go's algorithm).

Unlike the official client's, it gives the Lease back when it ends, so that an upgrade does not pause publishing for
the length of a lease; and it survives an API server that is away. It is not the last line: every write of an output
names the version that it replaces.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from tidegate_operator.ingest import Meta
from tidegate_operator.kube import API_FAILURES, LEASES, Api, ApiError, ClusterReplaced
from tidegate_operator.outputs import Gateway

_log = logging.getLogger(__name__)

# A leader that dies is followed after one lease and two retries at most, with time left to list everything and to
# publish within 15 s.
LEASE_SECONDS = 10
RENEW_DEADLINE_SECONDS = 7.0
RETRY_SECONDS = 1.0
# A connection that has silently died must not cost the lease: the next attempt takes another one.
ATTEMPT_SECONDS = 3.0
# A Lease that nobody renewed for so long by its own clock is dead, however far clocks may differ.
ABANDONED_SECONDS = 60.0
HEARTBEAT_SECONDS = 30.0

Lead = Callable[[], Awaitable[None]]
Notes = Callable[[], Mapping[str, str]]
"""Annotations that the Lease carries besides, as they are at each renewal."""


def no_notes() -> Mapping[str, str]:
    """None."""
    return {}


class LeaseSpec(msgspec.Struct, omit_defaults=True, rename="camel"):
    """coordination.k8s.io/v1 LeaseSpec."""

    holder_identity: str = ""
    lease_duration_seconds: int = LEASE_SECONDS
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class LeaseObject(msgspec.Struct):
    """A Lease."""

    metadata: Meta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


class Leadership(Protocol):
    """Decides when `lead` may run."""

    async def run(self, lead: Lead) -> None:
        """Run `lead` whenever this operator leads; cancels it when it no longer does. Until cancelled.

        Raises ClusterReplaced, as `verify` does, when the Lease is gone or another one than before.
        """

    async def verify(self) -> bool:
        """Whether this operator leads, by what the API server says now."""


class _Lease:
    """The Lease object of a gateway. `on_version` hears each resourceVersion that is read or written."""

    def __init__(self, api: Api, gateway: Gateway, on_version: Callable[[int], None], notes: Notes) -> None:
        self._api = api
        self._notes = notes
        self._collection = LEASES.path(gateway.namespace)
        self._path = LEASES.path(gateway.namespace, gateway.index_name)
        self._metadata = {"name": gateway.index_name, "namespace": gateway.namespace, "labels": gateway.labels}
        self._on_version = on_version
        self._uid = ""

    async def read(self) -> LeaseObject | None:
        """None when there has never been one; ClusterReplaced when the one that was known is not there any more."""
        try:
            lease = await self._api.get(self._path, LeaseObject)
        except ApiError as error:
            if not error.missing:
                raise
            if self._uid:
                raise self._replaced("is gone") from None
            return None
        if self._uid and lease.metadata.uid != self._uid:
            # Versions alone do not tell: those of a new etcd may have passed the old ones already.
            raise self._replaced("is another one than before")
        return self._heard(lease)

    async def write(self, spec: LeaseSpec, replacing: LeaseObject | None) -> LeaseObject:
        """Create it, or replace exactly the version that was read; ApiError (conflict) when that is gone."""
        body: dict[str, Any] = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {**self._metadata, "annotations": dict(self._notes())},
            "spec": msgspec.to_builtins(spec),
        }
        if replacing is None:
            answer = await self._api.create(self._collection, body)
        else:
            body["metadata"]["resourceVersion"] = replacing.metadata.resource_version
            answer = await self._api.replace(self._path, body)
        return self._heard(msgspec.json.decode(answer, type=LeaseObject))

    def _heard(self, lease: LeaseObject) -> LeaseObject:
        self._uid = lease.metadata.uid
        self._on_version(lease.metadata.version)
        return lease

    def _replaced(self, what: str) -> ClusterReplaced:
        return ClusterReplaced(
            f"the Lease {self._path} {what}: etcd was wiped or restored, or somebody deleted the Lease;"
            " the operator must begin anew"
        )


class Election:
    """Leads while it holds the Lease."""

    def __init__(
        self,
        api: Api,
        gateway: Gateway,
        *,
        identity: str,
        on_version: Callable[[int], None],
        notes: Notes = no_notes,
    ) -> None:
        self._lease = _Lease(api, gateway, on_version, notes)
        self._identity = identity
        self._held: LeaseObject | None = None
        self._observed: tuple[str, str | None] | None = None
        self._observed_at = 0.0

    async def run(self, lead: Lead) -> None:
        """See `Leadership.run`. Gives the Lease back when cancelled."""
        try:
            while True:
                await self._acquire()
                _log.info("leading as %s", self._identity)
                await self._lead(lead)
                _log.warning("no longer leading")
        finally:
            await asyncio.shield(self._release())

    async def verify(self) -> bool:
        """See `Leadership.verify`; False when the API server cannot be asked."""
        try:
            lease = await self._lease.read()
        except API_FAILURES:
            return False
        return lease is not None and lease.spec.holder_identity == self._identity

    async def _acquire(self) -> None:
        acquired = await self._try()
        while not acquired:
            await asyncio.sleep(RETRY_SECONDS)
            acquired = await self._try()

    async def _lead(self, lead: Lead) -> None:
        leading = asyncio.ensure_future(lead())
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        try:
            while loop.time() - renewed < RENEW_DEADLINE_SECONDS:
                done, _ = await asyncio.wait({leading}, timeout=RETRY_SECONDS)
                if done:
                    leading.result()
                    return
                if await self._try():
                    renewed = loop.time()
                elif self._held is None:
                    return
        finally:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)

    async def _try(self) -> bool:
        """Acquire or renew; False when another holds it or the API server does not answer."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                lease = await self._lease.read()
                if lease is not None and not self._may_take(lease):
                    self._held = None
                    return False
                self._held = await self._lease.write(self._renewed(lease), lease)
        except API_FAILURES as error:
            if isinstance(error, ApiError) and error.conflict:
                return False
            _log.warning("the Lease could not be renewed: %s", error or type(error).__name__)
            return False
        return True

    def _may_take(self, lease: LeaseObject) -> bool:
        holder = lease.spec.holder_identity
        if holder in ("", self._identity):
            return True
        now = asyncio.get_running_loop().time()
        if self._observed != (holder, lease.spec.renew_time):
            self._observed, self._observed_at = (holder, lease.spec.renew_time), now
        return now - self._observed_at > lease.spec.lease_duration_seconds or _abandoned(lease.spec)

    def _renewed(self, lease: LeaseObject | None) -> LeaseSpec:
        now = micro_time(datetime.now(UTC))
        old = lease.spec if lease is not None else LeaseSpec()
        mine = old.holder_identity == self._identity
        return LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=LEASE_SECONDS,
            acquire_time=old.acquire_time if mine else now,
            renew_time=now,
            lease_transitions=old.lease_transitions + (0 if mine or lease is None else 1),
        )

    async def _release(self) -> None:
        if self._held is None:
            return
        try:
            await self._lease.write(LeaseSpec(lease_transitions=self._held.spec.lease_transitions), self._held)
        except API_FAILURES as error:
            _log.info("the Lease was not given back: %s", error or type(error).__name__)


class Alone:
    """Always leads; for tests and demonstrations with one operator. Writes the Lease only as a heartbeat."""

    def __init__(
        self,
        api: Api,
        gateway: Gateway,
        *,
        identity: str,
        on_version: Callable[[int], None],
        notes: Notes = no_notes,
    ) -> None:
        self._lease = _Lease(api, gateway, on_version, notes)
        self._identity = identity

    async def run(self, lead: Lead) -> None:
        """See `Leadership.run`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            while True:
                await lead()

    async def verify(self) -> bool:
        """See `Leadership.verify`."""
        with suppress(*API_FAILURES):
            await self._lease.read()
        return True

    async def _beat(self) -> None:
        while True:
            try:
                now = micro_time(datetime.now(UTC))
                spec = LeaseSpec(holder_identity=self._identity, acquire_time=now, renew_time=now)
                await self._lease.write(spec, await self._lease.read())
            except API_FAILURES as error:
                _log.warning("the heartbeat could not be written: %s", error or type(error).__name__)
            await asyncio.sleep(HEARTBEAT_SECONDS)


def _abandoned(spec: LeaseSpec) -> bool:
    try:
        renewed = datetime.fromisoformat(spec.renew_time or "")
    except ValueError:
        return False
    return (datetime.now(UTC) - renewed).total_seconds() > max(ABANDONED_SECONDS, 4 * spec.lease_duration_seconds)


def micro_time(moment: datetime) -> str:
    """metav1.MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
