"""Small wrongs done to policies, each of which good tests notice. Pure: specs in, specs out."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from tidegate_operator.field_path import FieldPath
from tidegate_operator.world import Kind, ObjectKey, Resource, World

Spec = dict[str, Any]

_CONDITIONS: Final = ("roles", "models", "operations", "versions")
_METHODS: Final = ("APIKey", "MTLS", "Anonymous")
# By these nobody can come in where no policy names a provider: widening by them changes nothing.
_BY_PROVIDER: Final = {"jwt": "JWT", "introspection": "Introspection"}
# Sections that are rules or named otherwise below; all others are removed whole.
_OWN: Final = frozenset(
    {"targetRefs", "strength", "mode", "placement", "authentication", "authorization", "rateLimits"}
)
_INLINE: Final = frozenset({"network", "risk"})


class Mutant(Struct, frozen=True):
    """One wrong: what it does in words, at which field, and the spec that has it."""

    key: ObjectKey
    field: FieldPath
    what: str
    spec: Spec


def all_mutants(world: World) -> Iterator[Mutant]:
    """All wrongs done to a world, object by object."""
    sections = [resource.spec.get("authentication") or {} for resource in world.resources.values()]
    methods = [*_METHODS, *(method for name, method in _BY_PROVIDER.items() if any(name in one for one in sections))]
    for _, resource in sorted(world.resources.items()):
        yield from _mutants(resource, methods)


def _mutants(resource: Resource, methods: list[str]) -> Iterator[Mutant]:
    """None for kinds that refuse nobody."""
    spec = resource.spec
    if resource.key.kind is Kind.POLICY:
        yield from _rules(resource, spec)
        yield from _authentication(resource, spec, methods)
        yield from _lists(resource, spec)
        yield from _sections(resource, spec)
    elif resource.key.kind is Kind.ROUTE:
        yield from _route(resource, spec)
    elif resource.key.kind is Kind.CONSUMER and spec.get("suspended"):
        yield _changed(resource, ("spec", "suspended"), "suspended removed", _popping(("spec", "suspended")))


def _changed(resource: Resource, field: FieldPath, what: str, edit: Callable[[Spec], object]) -> Mutant:
    spec = copy.deepcopy(dict(resource.spec))
    edit(spec)
    return Mutant(resource.key, field, what, spec)


def _rules(resource: Resource, spec: Mapping[str, Any]) -> Iterator[Mutant]:
    rules = (spec.get("authorization") or {}).get("rules") or []
    for index, rule in enumerate(rules):
        path: FieldPath = ("spec", "authorization", "rules", index)
        name = f"rule {rule.get('name')}"
        other = "Deny" if rule.get("effect") == "Allow" else "Allow"
        yield _changed(
            resource, (*path, "effect"), f"{name}: {rule.get('effect')} -> {other}", _setting(path, "effect", other)
        )
        yield _changed(resource, path, f"{name}: removed", _popping(path))
        for condition in (*_CONDITIONS, "when"):
            if rule.get(condition):
                yield _changed(
                    resource, (*path, condition), f"{name}: {condition} dropped", _popping((*path, condition))
                )
        if rule.get("when"):
            negated = _setting(path, "when", f"!({rule['when']})")
            yield _changed(resource, (*path, "when"), f"{name}: when negated", negated)


def _authentication(resource: Resource, spec: Mapping[str, Any], known: list[str]) -> Iterator[Mutant]:
    section = spec.get("authentication")
    if not section:
        return
    path: FieldPath = ("spec", "authentication")
    methods = section.get("methods") or []
    for method in known:
        if method not in methods:
            words = f"authentication: methods widened by {method}"
            yield _changed(resource, (*path, "methods"), words, _setting(path, "methods", [*methods, method]))
    for index, method in enumerate(section.get("allOf") or ()):
        place: FieldPath = (*path, "allOf", index)
        yield _changed(resource, place, f"authentication: allOf without {method}", _popping(place))


def _lists(resource: Resource, spec: Mapping[str, Any]) -> Iterator[Mutant]:
    """Of sections that hold lists and thresholds: without each of them."""
    for section in _INLINE:
        for name, value in (spec.get(section) or {}).items():
            path: FieldPath = ("spec", section, name)
            if isinstance(value, list) and len(value) > 1:
                for index in range(len(value)):
                    words = f"{section}: {name} without its entry {index + 1}"
                    yield _changed(resource, (*path, index), words, _popping((*path, index)))
            else:
                yield _changed(resource, path, f"{section}: {name} removed", _popping(path))


def _sections(resource: Resource, spec: Mapping[str, Any]) -> Iterator[Mutant]:
    for section in sorted(spec.keys() - _OWN):
        if spec[section]:
            path: FieldPath = ("spec", section)
            yield _changed(resource, path, f"{section}: removed", _popping(path))


def _route(resource: Resource, spec: Mapping[str, Any]) -> Iterator[Mutant]:
    if "*" not in (spec.get("allowedNamespaces") or ()):
        words = "allowedNamespaces: widened to all"
        edit = _setting(("spec",), "allowedNamespaces", ["*"])
        yield _changed(resource, ("spec", "allowedNamespaces"), words, edit)


def _setting(path: FieldPath, name: str, value: object) -> Callable[[Spec], object]:
    def edit(spec: Spec) -> None:
        _at(spec, path)[name] = value

    return edit


def _popping(path: FieldPath) -> Callable[[Spec], object]:
    """Take out what stands at `path`; a list or section that is empty then goes too, for none may be empty."""

    def edit(spec: Spec) -> None:
        for length in range(len(path), 1, -1):
            parent = _at(spec, path[: length - 1])
            del parent[path[length - 1]]
            if parent:
                return

    return edit


def _at(spec: Spec, path: FieldPath) -> Any:
    """What stands at a path that begins with `spec`."""
    found: Any = spec
    for step in path[1:]:
        found = found[step]
    return found
