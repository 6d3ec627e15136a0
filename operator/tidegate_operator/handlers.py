"""Kopf's part: it lists, watches and reconnects; each handler only passes on what was seen.

Only `@kopf.on.event`: every other kind of handler writes annotations and finalizers onto the objects that it handles,
and that wakes Argo CD at every change and hangs its prune.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, TypeAlias

import kopf

from tidegate_operator.kube import CONFIG_MAPS, ENDPOINT_SLICES, LEASES, SECRETS, Resource
from tidegate_operator.outputs import GATEWAY_LABEL, Gateway
from tidegate_operator.resources import RESOURCES
from tidegate_operator.world import LIST_LABEL

LIST_CHUNK = 250
# A watch that says nothing, though the server was asked to end it long before, has died in silence. What happened since
# its last bookmark is still in the server's memory then.
WATCH_SECONDS = 30
SILENCE_SECONDS = 40
# Kopf keeps a task for each object for so long after its last event, in seconds.
WORKER_IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a list or watch said of an object; `body` is its JSON data.

    `own` tells the watch of the operator's own namespace from that of the whole cluster: both see ConfigMaps, the one
    the operator's outputs, the other lists.
    """

    resource: Resource
    deleted: bool
    body: Any
    own: bool = False


Deliver: TypeAlias = Callable[[Event], None]
CLUSTER_RESOURCES = (*RESOURCES.values(), SECRETS, CONFIG_MAPS)


def own_resources(*, discover: bool) -> tuple[Resource, ...]:
    """What is watched in the operator's own namespace: its outputs, its Lease, and where its data planes are."""
    return (CONFIG_MAPS, LEASES, ENDPOINT_SLICES) if discover else (CONFIG_MAPS, LEASES)


def registry_for(
    resources: Iterable[Resource], deliver: Deliver, login: Any, *, own: bool = False
) -> kopf.OperatorRegistry:
    """A registry with one handler for each resource, and nothing in module globals."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    for resource in resources:
        decorate = kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
        decorate(_handler(resource, deliver, own=own))
    return registry


def _handler(resource: Resource, deliver: Deliver, *, own: bool) -> Any:
    async def pass_on(event: Any, **_: Any) -> None:
        deliver(Event(resource, event["type"] == "DELETED", event["object"], own))

    return pass_on


def settings_for(gateway: Gateway, *, own: bool = False, service: str | None = None) -> kopf.OperatorSettings:
    """Kopf writes nothing, posts nothing, scans nothing; the server sends only what is used."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.queueing.idle_timeout = WORKER_IDLE_SECONDS
    settings.watching.chunk_size = LIST_CHUNK
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = Backoffs()
    settings.watching.field_selectors[kopf_selector(SECRETS)] = "type=Opaque"
    settings.watching.label_selectors[kopf_selector(CONFIG_MAPS)] = (
        f"{GATEWAY_LABEL}={gateway.name}" if own else f"{LIST_LABEL}=true"
    )
    settings.watching.field_selectors[kopf_selector(LEASES)] = f"metadata.name={gateway.index_name}"
    if service is not None:
        settings.watching.label_selectors[kopf_selector(ENDPOINT_SLICES)] = f"kubernetes.io/service-name={service}"
    return settings


def kopf_selector(resource: Resource) -> tuple[str, str, str]:
    return (resource.group, resource.version, resource.plural)


class Backoffs:
    """Seconds between attempts while the API server is away.

    Kopf's own grow to 21 s, and so long an operator would be blind after an outage that is over.
    """

    def __iter__(self) -> Iterator[float]:
        return chain((0.1, 0.2, 0.5), repeat(1.0))


class NoDiffBase(kopf.DiffBaseStorage):
    """Kopf compares each object with the last handled one, for handlers that this operator does not have.

    The comparison deep-copies every object at every event, which is most of the cost of an event.
    """

    def build(self, *, body: Any, extra_fields: Iterable[Any] | None = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None
