"""Where an object, or a rule of it, stands in the files that it was read from. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tidegate_operator.field_path import FieldPath, field_path
from tidegate_operator.manifests import Manifest

# What a rule may be called by, in the order of preference: the name of a list's item, a quota's unit, a target's kind.
_NAMING = ("name", "unit")


class Place(NamedTuple):
    """A line of a file; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Provenance:
    """From `AIPolicy team-a/chat` and the name of a rule to the line where that begins."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._manifests: dict[str, Manifest] = {}
        self._known: dict[tuple[str, str], Place | None] = {}
        for manifest in manifests:
            # Of two with one identity the first counts, as in the World.
            self._manifests.setdefault(f"{manifest.kind} {manifest.namespace}/{manifest.name}", manifest)

    def find(self, object: str, rule: str = "") -> Place | None:
        """The place of the rule: a named item, a section of that name, else the object; None for an unknown object."""
        name = (object, rule)
        if name not in self._known:
            self._known[name] = self._find(object, rule)
        return self._known[name]

    def text(self, object: str, rule: str = "") -> str:
        """The same as `file:line`, "" where there is none."""
        place = self.find(object, rule)
        return "" if place is None else str(place)

    def field(self, object: str, path: FieldPath) -> Place | None:
        """The place of a field such as `("spec", "network")`, or of its nearest ancestor that is there."""
        manifest = self._manifests.get(object)
        return None if manifest is None else Place(manifest.file, manifest.line_of(path))

    def _find(self, object: str, rule: str) -> Place | None:
        manifest = self._manifests.get(object)
        if manifest is None:
            return None
        path = field_path(rule) if rule.startswith("spec.") else None
        if path is None and rule:
            path = _path_of(manifest.raw.get("spec"), rule)
        return Place(manifest.file, manifest.line_of(("kind",) if path is None else path))


def _path_of(spec: Any, rule: str) -> FieldPath | None:
    """The path of what a rule's name means within a spec."""
    named = dict[str, FieldPath]()
    for path, item in _maps_below(spec, ("spec",)):
        for key in _NAMING:
            # The unit of a grant names the limit that it adds to.
            if isinstance(item.get(key), str) and path[1:2] != ("grants",):
                named.setdefault(item[key], path)
        for key in item:
            named.setdefault(f"\0{key}", (*path, key))
    first = rule.partition(", ")[0]
    return named.get(rule) or named.get(first) or named.get(f"\0{rule}")


def _maps_below(value: Any, path: FieldPath) -> Iterator[tuple[FieldPath, Mapping[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from _maps_below(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _maps_below(item, (*path, index))
