"""Gives each event of a watch to the part that it concerns."""

import logging
from dataclasses import dataclass

import msgspec

from tidegate_operator.handlers import Event
from tidegate_operator.ingest import (
    ConfigMapObject,
    CustomObject,
    Meta,
    SecretObject,
    seen_config_map,
    seen_object,
    seen_secret,
)
from tidegate_operator.kube import CONFIG_MAPS, ENDPOINT_SLICES, LEASES, SECRETS
from tidegate_operator.loop import Debounce
from tidegate_operator.outputs import Gateway
from tidegate_operator.planes import EndpointSlice, Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.resources import RESOURCES
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.watchdog import Watchdog
from tidegate_operator.world import ConfigMapKey, Kind, SecretKey

_log = logging.getLogger(__name__)
_KINDS = {resource: kind for kind, resource in RESOURCES.items()}


class _HasMeta(msgspec.Struct):
    metadata: Meta


@dataclass(frozen=True, slots=True)
class Parts:
    """What events are dealt to."""

    gateway: Gateway
    store: Store
    publisher: Publisher
    planes: Planes
    status: StatusWriter
    watchdog: Watchdog
    changes: Debounce


def deal(event: Event, parts: Parts) -> None:
    """Give an event to whom it concerns, and mark the World when it changed it. Never raises: an event is only news."""
    try:
        changed = _deal(event, parts)
    except (msgspec.ValidationError, ValueError) as error:
        # Not the error's text: it may quote a Secret.
        _log.error("an event of %s could not be read: %s", event.resource.plural, type(error).__name__)
        return
    if changed:
        parts.changes.mark()


def _deal(event: Event, parts: Parts) -> bool:
    if event.resource in _KINDS:
        return _deal_object(_KINDS[event.resource], event, parts)
    if event.resource == SECRETS:
        return _deal_secret(event, parts)
    if event.resource == CONFIG_MAPS:
        item = msgspec.convert(event.body, ConfigMapObject)
        if not event.own:
            return _deal_list(item, event, parts)
        if event.deleted:
            return parts.publisher.forget_config_map(item.metadata.name, item.metadata.version)
        return parts.publisher.see_config_map(item)
    if event.resource == LEASES:
        parts.watchdog.echo(msgspec.convert(event.body, _HasMeta).metadata.version)
    elif event.resource == ENDPOINT_SLICES:
        endpoint_slice = msgspec.convert(event.body, EndpointSlice)
        if event.deleted:
            parts.planes.forget_slice(str(endpoint_slice.metadata["name"]))
        else:
            parts.planes.see_slice(endpoint_slice)
    return False


def _deal_object(kind: Kind, event: Event, parts: Parts) -> bool:
    seen = seen_object(kind, msgspec.convert(event.body, CustomObject))
    key = seen.resource.key
    if event.deleted:
        return parts.store.forget(key, seen.version)
    before = parts.store.status(key)
    changed = parts.store.see(seen)
    if parts.store.status(key) != before:
        parts.status.touched(key)
    return changed


def _deal_list(item: ConfigMapObject, event: Event, parts: Parts) -> bool:
    """Also one that lost its label counts as deleted: the watch sees no more of it."""
    if event.deleted:
        key = ConfigMapKey(item.metadata.namespace, item.metadata.name)
        return parts.store.forget_config_map(key, item.metadata.version)
    return parts.store.see_config_map(seen_config_map(item))


def _deal_secret(event: Event, parts: Parts) -> bool:
    item = msgspec.convert(event.body, SecretObject)
    key = SecretKey(item.metadata.namespace, item.metadata.name)
    if key == (parts.gateway.namespace, parts.gateway.credentials_name):
        if event.deleted:
            return parts.publisher.forget_secret(key.name, item.metadata.version)
        return parts.publisher.see_secret(item)
    if event.deleted:
        return parts.store.forget_secret(key, item.metadata.version)
    return parts.store.see_secret(seen_secret(item))
