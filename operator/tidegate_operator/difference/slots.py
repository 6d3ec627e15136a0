"""The calls by which a change is tried: every route of either side, each of its operations, models and hosts.

A model `gpt-*` is tried as `gpt-any`, and besides as each name that a rule of its policies speaks of.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.path import path_of
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Guard, Names, Route
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_operator.difference.profile import expressions_of, reads_of, rules_of
from tidegate_operator.inquiry.calls import ANY

_LITERAL = re.compile(r"'([^'\\]{1,128})'|\"([^\"\\]{1,128})\"")


class Slot(NamedTuple):
    """A way to call: what the table of routes looks at."""

    host: str
    base: str
    headers: tuple[tuple[str, str], ...]
    operation: Operation
    model: str

    def taken_by(self, runtime: Runtime) -> Route | None:
        """The route that takes such calls."""
        claim = runtime.table.find(self.host, self.base, self.operation, self.model, dict(self.headers))
        return None if claim is None else runtime.routes[claim[0]]

    def call(self, address: str) -> Call:
        """The call itself, of the smallest size."""
        return Call(
            host=self.host,
            path=self.base if self.operation is Operation.MODELS else path_of(self.base, self.operation),
            base=self.base,
            operation=self.operation,
            model=self.model,
            headers=dict(self.headers),
            address=address,
            peer=address,
            prompt_tokens=1,
        )


def slots(old: Runtime, new: Runtime) -> Iterator[Slot]:
    """Every slot of either side once, in the order of routes."""
    seen: set[Slot] = set()
    for key in sorted({*old.routes, *new.routes}):
        sides = [runtime.routes[key] for runtime in (old, new) if key in runtime.routes]
        # One that is the same on both sides is called alike.
        for route in sides[:1] if len(sides) == 2 and sides[0] is sides[1] else sides:
            for slot in _slots_of(route, sides):
                if slot not in seen:
                    seen.add(slot)
                    yield slot


def _slots_of(route: Route, sides: Iterable[Route]) -> Iterator[Slot]:
    entry = route.entry
    base = entry.path_prefix.rstrip("/") or "/"
    hosts = tuple(one.replace("*", ANY, 1).lower() for one in entry.hostnames) or ("",)
    models = list(_models(route, sides))
    for operation in entry.operations:
        for model in models:
            for host in hosts:
                yield Slot(host, base, entry.headers, operation, model)


def _models(route: Route, sides: Iterable[Route]) -> Iterator[str]:
    """The names to try, each once."""
    given = route.entry.models
    globs = tuple(model for model in given if model.endswith("*"))
    exact = {model: None for model in given if not model.endswith("*")}
    yield from exact
    if not globs:
        return
    named = {_sample(glob): None for glob in globs}
    claimed = Names(globs)
    for guard in {id(guard): guard for side in sides for guard in (side.guard, side.shadow) if guard}.values():
        rules = _spoken_of(guard)
        named |= {name: None for name in rules.names if claimed.match(name)}
        # Such as `-internal` of request.model.endsWith('-internal').
        named |= {f"{glob[:-1]}{part}": None for glob in globs for part in rules.parts}
    yield from (name for name in named if name not in exact)


def _sample(pattern: str) -> str:
    return f"{pattern[:-1]}{ANY}" if pattern.endswith("*") else pattern


class _Spoken(NamedTuple):
    """Models that rules name, and texts in expressions about the model, which may be names or parts of names."""

    names: tuple[str, ...]
    parts: tuple[str, ...]


@lru_cache(maxsize=1024)
def _spoken_of(guard: Guard) -> _Spoken:
    names: dict[str, None] = {}
    for rule in rules_of(guard):
        if rule.models is not None:
            names |= dict.fromkeys(sorted(rule.models.exact))
            names |= dict.fromkeys(f"{prefix}{ANY}" for prefix in rule.models.prefixes)
    texts: dict[str, None] = {}
    for source in expressions_of(guard):
        if any((read.root, read.member) == ("request", "model") for read in reads_of(source)):
            texts |= dict.fromkeys(_texts(source))
    return _Spoken((*names, *texts), tuple(texts))


@lru_cache(maxsize=4096)
def _texts(source: str) -> tuple[str, ...]:
    return tuple(one or other for one, other in _LITERAL.findall(source))
