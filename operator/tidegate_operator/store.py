"""What the API server declares, as the operator last saw it: Tidegate's kinds and the Secrets.

The store answers two questions: what the World is, and whether it changed. A status that was written, by this operator
or anyone, is no change; only generation, uid, deletion and the data of a Secret that something refers to are.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate_operator.conditions import NO_STATUS, Condition, ObjectStatus
from tidegate_operator.versioned import Versioned
from tidegate_operator.world import ConfigMapKey, ConsumerKey, Kind, ObjectKey, Resource, SecretKey, World


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One object of Tidegate's kinds at one resourceVersion. `deleting`: its deletion has been asked for. `commit` is
    what it says of the commit that it came from."""

    resource: Resource
    version: int
    status: ObjectStatus = NO_STATUS
    deleting: bool = False
    commit: str = ""


@dataclass(frozen=True, slots=True)
class SeenSecret:
    """One Secret at one resourceVersion; `data` is never shown."""

    key: SecretKey
    version: int
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenConfigMap:
    """One ConfigMap that holds a list, at one resourceVersion."""

    key: ConfigMapKey
    version: int
    data: Mapping[str, bytes] = field(repr=False)


class Store:
    """The newest known state of everything declared. Single-threaded."""

    def __init__(self) -> None:
        self._objects: dict[Kind, Versioned[ObjectKey, SeenObject]] = {kind: Versioned() for kind in Kind}
        self._secrets: Versioned[SecretKey, SeenSecret] = Versioned()
        self._config_maps: Versioned[ConfigMapKey, SeenConfigMap] = Versioned()
        self._live: dict[ObjectKey, Resource] = {}
        self._referenced: Counter[SecretKey] = Counter()
        self._unissued: Mapping[ConsumerKey, str] = {}

    def world(self) -> World:
        """Everything declared now. A Resource that did not change is the same Python object as before."""
        lists = {key: seen.data for key, seen in self._config_maps.snapshot().items()}
        return World(resources=dict(self._live), secrets=self.secrets(), unissued=self._unissued, config_maps=lists)

    def secrets(self) -> dict[SecretKey, Mapping[str, bytes]]:
        """The data of every Secret."""
        return {key: seen.data for key, seen in self._secrets.snapshot().items()}

    def resource(self, key: ObjectKey) -> Resource | None:
        return self._live.get(key)

    def status(self, key: ObjectKey) -> ObjectStatus:
        """The status that the API server is known to hold."""
        seen = self._objects[key.kind].get(key)
        return seen.status if seen else NO_STATUS

    def commit(self, key: ObjectKey) -> str:
        """What the object says of the commit that it came from; "" when it says nothing."""
        seen = self._objects[key.kind].get(key)
        return seen.commit if seen else ""

    def counts(self) -> dict[Kind, int]:
        """How many objects of each kind are declared."""
        counted = Counter(key.kind for key in self._live)
        return {kind: counted[kind] for kind in Kind}

    def see(self, seen: SeenObject) -> bool:
        """Take an object's state; True when the World changed."""
        key = seen.resource.key
        known = self._objects[key.kind].get(key)
        if known is not None and _same_spec(known.resource, seen.resource):
            # The compiler recognises an unchanged object by identity.
            seen = replace(seen, resource=known.resource, status=_interned(seen.status))
        else:
            seen = replace(seen, status=_interned(seen.status))
        if not self._objects[key.kind].put(key, seen.version, seen):
            return False
        return self._set_live(key, None if seen.deleting else seen.resource)

    def forget(self, key: ObjectKey, version: int) -> bool:
        """Take an object's deletion; True when the World changed."""
        return self._objects[key.kind].drop(key, version) and self._set_live(key, None)

    def see_secret(self, seen: SeenSecret) -> bool:
        """Take a Secret's state; True when the World changed for something that refers to it."""
        known = self._secrets.get(seen.key)
        if not self._secrets.put(seen.key, seen.version, seen):
            return False
        return self._referenced[seen.key] > 0 and (known is None or known.data != seen.data)

    def set_unissued(self, faults: Mapping[ConsumerKey, str]) -> bool:
        """Take why keys could not be generated; True when the World changed."""
        changed = faults != self._unissued
        self._unissued = dict(faults) if changed else self._unissued
        return changed

    def forget_secret(self, key: SecretKey, version: int) -> bool:
        """Take a Secret's deletion; True when the World changed for something that refers to it."""
        return self._secrets.drop(key, version) and self._referenced[key] > 0

    def see_config_map(self, seen: SeenConfigMap) -> bool:
        """Take the state of a ConfigMap that holds a list; True when the World changed."""
        known = self._config_maps.get(seen.key)
        changed = known is None or known.data != seen.data
        if known is not None and not changed:
            # The compiler recognises an unchanged list at no cost by identity.
            seen = SeenConfigMap(seen.key, seen.version, known.data)
        return self._config_maps.put(seen.key, seen.version, seen) and changed

    def forget_config_map(self, key: ConfigMapKey, version: int) -> bool:
        """Take its deletion, or that it is labelled as a list no more; True when the World changed."""
        return self._config_maps.drop(key, version)

    def audit(self, kind: Kind, listed: Iterable[SeenObject], list_version: int) -> list[str]:
        """Compare with a complete list of one kind and repair; returns what the watch had missed."""
        repairs = []
        present = set()
        for seen in listed:
            present.add(seen.resource.key)
            if self.see(seen):
                repairs.append(f"{seen.resource.key} changed")
        for key in self._objects[kind].vanished(present, list_version):
            self._set_live(key, None)
            repairs.append(f"{key} was deleted")
        return repairs

    def audit_secrets(self, listed: Iterable[SeenSecret], list_version: int) -> list[str]:
        """As `audit`, for Secrets; reports only those that something refers to."""
        repairs = []
        present = set()
        for seen in listed:
            present.add(seen.key)
            if self.see_secret(seen):
                repairs.append(f"Secret {seen.key.namespace}/{seen.key.name} changed")
        for key in self._secrets.vanished(present, list_version):
            if self._referenced[key] > 0:
                repairs.append(f"Secret {key.namespace}/{key.name} was deleted")
        return repairs

    def audit_config_maps(self, listed: Iterable[SeenConfigMap], list_version: int) -> list[str]:
        """As `audit`, for ConfigMaps that hold lists."""
        repairs = []
        present = set()
        for seen in listed:
            present.add(seen.key)
            if self.see_config_map(seen):
                repairs.append(f"ConfigMap {seen.key.namespace}/{seen.key.name} changed")
        for key in self._config_maps.vanished(present, list_version):
            repairs.append(f"ConfigMap {key.namespace}/{key.name} was deleted")
        return repairs

    def _set_live(self, key: ObjectKey, resource: Resource | None) -> bool:
        old = self._live.get(key)
        if old is resource:
            return False
        self._referenced.subtract(secret_references(old) if old else ())
        self._referenced.update(secret_references(resource) if resource else ())
        if resource is None:
            del self._live[key]
        else:
            self._live[key] = resource
        return True


# The sections of a policy that may name Secrets.
_SECTIONS = ("authentication", "network", "risk")


def secret_references(resource: Resource) -> Iterator[SecretKey]:
    """The Secrets that an object names, whether they exist or not."""
    spec = resource.spec
    references: list[Any] = []
    if resource.key.kind is Kind.BACKEND:
        references = [_at(spec, "credential")]
    elif resource.key.kind is Kind.CONSUMER:
        keys = _at(_at(spec, "credentials"), "apiKeys")
        references = keys if isinstance(keys, list) else []
    elif resource.key.kind is Kind.QUOTA:
        references = [_at(spec, "notify")]
    elif resource.key.kind is Kind.POLICY:
        references = [{"secretRef": found} for found in _secret_refs([spec.get(name) for name in _SECTIONS])]
    for reference in references:
        name = _at(_at(reference, "secretRef"), "name")
        if isinstance(name, str):
            yield SecretKey(resource.key.namespace, name)


def _secret_refs(data: object) -> Iterator[object]:
    """Every value of a field `secretRef` or `…SecretRef`, however deep."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if name == "secretRef" or (isinstance(name, str) and name.endswith("SecretRef")):
                yield value
            else:
                yield from _secret_refs(value)
    elif isinstance(data, list):
        for value in data:
            yield from _secret_refs(value)


def _at(data: object, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else None


def _same_spec(known: Resource, seen: Resource) -> bool:
    """The API server raises the generation at every change of a spec, and uids are never used again."""
    return known.uid == seen.uid and known.generation == seen.generation and known.created == seen.created


def _interned(status: ObjectStatus) -> ObjectStatus:
    """Thousands of objects have the same words in their statuses: keep each word once."""
    conditions = tuple(
        Condition(
            type=sys.intern(condition.type),
            status=sys.intern(condition.status),
            generation=condition.generation,
            reason=sys.intern(condition.reason),
            message=sys.intern(condition.message),
            transition=sys.intern(condition.transition),
        )
        for condition in status.conditions
    )
    return replace(status, conditions=conditions, expires=sys.intern(status.expires))
