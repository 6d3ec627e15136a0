"""Which calls could come in at all: what can be proved without trying every address, header, hour and token.

All answers err on one side. `may_enter` is False only when no call whatsoever is let in: expressions that are not
plainly `true` or `false` may have any value, tokens may carry any claim, and callers may come from any address.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Final, NamedTuple

from tidegate_dataplane.engine.assume import methods_of_consumer
from tidegate_dataplane.engine.subscribe import live_subscription
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Consumer, Guard, Names, Route, Rule
from tidegate_dataplane.snapshot.entries import Method, Operation

# No model and no rule can be called so: it stands for every name that nothing else singles out.
_OTHER: Final = "\x00"
_ALWAYS: Final = "true"
_NEVER: Final = "false"

Roles = frozenset[str] | None


class Asked(NamedTuple):
    """An operation on a model that stands for all models that the rules of its route treat alike."""

    operation: Operation
    model: str


class Caller(NamedTuple):
    """What of a consumer decides where it may come in."""

    namespace: str
    roles: frozenset[str]
    methods: frozenset[Method]


class Cell(NamedTuple):
    """What some calls of a route meet: roles that are denied for certain, and for each policy those it may allow."""

    denied: frozenset[Roles]
    allowed: frozenset[frozenset[Roles]]


def always(rule: Rule) -> bool:
    """Whether its expression holds for every call."""
    return rule.program is None or rule.program.source.strip() == _ALWAYS


def never(rule: Rule) -> bool:
    """Whether its expression holds for no call."""
    return rule.program is not None and rule.program.source.strip() == _NEVER


def fits(rule: Rule, asked: Asked) -> bool:
    """Whether the rule is about this operation and model."""
    about = rule.operations is None or asked.operation in rule.operations
    return about and (rule.models is None or rule.models.match(asked.model))


def asked_of(route: Route) -> Iterator[Asked]:
    """Every operation on a model that the route takes: the models that its rules tell apart, and one for the rest."""
    rules = list(rules_of(route.guard)) + (list(rules_of(route.shadow)) if route.shadow else [])
    names = [rule.models for rule in rules if rule.models is not None]
    models = list(dict.fromkeys(chain.from_iterable(_standing_for(model, names) for model in route.entry.models)))
    for operation in route.entry.operations:
        for model in models:
            yield Asked(operation, model)


def listed_of(route: Route) -> Iterator[Asked]:
    """Asking which models there are, which is an operation of its own."""
    for model in dict.fromkeys(asked.model for asked in asked_of(route)):
        yield Asked(Operation.MODELS, model)


def _uses(route: Route) -> Iterator[Asked]:
    """What a caller can come in for. Rules may let list models whom they do not let use them (engine/catalogue.py)."""
    yield from asked_of(route)
    if any(rule.operations and Operation.MODELS in rule.operations for _, rules in route.guard.allow for rule in rules):
        # Only names are listed, never patterns.
        yield from (Asked(Operation.MODELS, model) for model in route.entry.models if not model.endswith("*"))


def rules_of(guard: Guard) -> Iterator[Rule]:
    """All rules, Deny first."""
    yield from guard.deny
    for _, rules in guard.allow:
        yield from rules


def _standing_for(pattern: str, names: list[Names]) -> Iterator[str]:
    if not pattern.endswith("*"):
        yield pattern
        return
    stem = pattern[:-1]
    yield stem + _OTHER
    for name in names:
        yield from (exact for exact in name.exact if exact.startswith(stem))
        yield from (prefix + _OTHER for prefix in name.prefixes if prefix.startswith(stem))


@dataclass
class Reach:
    """Answers for one Runtime at one time (seconds since the epoch, and later), and remembers them."""

    runtime: Runtime
    now: float

    def __post_init__(self) -> None:
        self._cells: dict[str, frozenset[Cell]] = {}
        self._entered: dict[tuple[str, Caller], bool] = {}
        self._admitting: dict[str, tuple[Route, ...]] = {}
        self._keyless: dict[str, frozenset[Method]] = {}

    def methods(self, consumer: Consumer) -> frozenset[Method]:
        """The methods for which it has a credential that works now or later."""
        known = self._keyless.get(consumer.key)
        if known is None:
            found = set(methods_of_consumer(consumer))
            keys = consumer.entry.keys
            if not any(not key.revoked and (key.not_after is None or self.now < key.not_after) for key in keys):
                found.discard(Method.API_KEY)
            known = self._keyless[consumer.key] = frozenset(found)
        return known

    def routes_for(self, consumer: Consumer) -> Iterator[Route]:
        """The routes on which some call of the consumer may be let in; of a suspended one as if it were not."""
        methods = self.methods(consumer)
        if not methods:
            return
        for route in self.admitting(consumer.namespace):
            if self.may_enter(route, consumer, methods):
                yield route

    def may_enter(self, route: Route, consumer: Consumer, methods: frozenset[Method]) -> bool:
        """False only when no call of the consumer on this route is ever let in."""
        if route.subscriptions is not None and not live_subscription(route.subscriptions, consumer.key, self.now):
            return False
        return self._may_pass(route, Caller(consumer.namespace, consumer.roles, methods))

    def enterable(self) -> set[str]:
        """The keys of the routes on which some call of some consumer may be let in. Equal consumers are tried once."""
        found: set[str] = set()
        tried: set[Caller] = set()
        for consumer in self.runtime.consumers.values():
            who = Caller(consumer.namespace, consumer.roles, self.methods(consumer))
            if consumer.entry.suspended or not who.methods or who in tried:
                continue
            tried.add(who)
            open_routes = (route for route in self.admitting(who.namespace) if route.subscriptions is None)
            found.update(route.key for route in open_routes if self._may_pass(route, who))
        found.update(route.key for route in self.runtime.routes.values() if self._subscribed(route))
        return found

    def _subscribed(self, route: Route) -> bool:
        """Whether one of its subscribers may come in."""
        if route.subscriptions is None:
            return False
        for key in route.subscriptions.by_consumer:
            consumer = self.runtime.consumers.get(key)
            if consumer is None or consumer.entry.suspended:
                continue
            admitted = route.admits is None or consumer.namespace in route.admits
            if admitted and self.may_enter(route, consumer, self.methods(consumer)):
                return True
        return False

    def _may_pass(self, route: Route, who: Caller) -> bool:
        place = (route.key, who)
        known = self._entered.get(place)
        if known is None:
            known = self._entered[place] = self._passes(route, who)
        return known

    def may_enter_anonymously(self, route: Route) -> bool:
        """False only when no call without a credential is ever let in."""
        return self._passes(route, Caller("", frozenset(), frozenset({Method.ANONYMOUS})))

    def may_enter_unnamed(self, route: Route) -> bool:
        """False only when no token makes a caller that no AIConsumer names, or none that may come in."""
        providers = self.runtime.providers.by_key
        programs = (providers[key].programs for key in route.guard.mappings if key in providers)
        return any(one is not None and one.name is not None for one in programs)

    def admitting(self, namespace: str) -> tuple[Route, ...]:
        """The routes that know consumers of a namespace."""
        known = self._admitting.get(namespace)
        if known is None:
            found = (
                route
                for _, route in sorted(self.runtime.routes.items())
                if route.admits is None or namespace in route.admits
            )
            known = self._admitting[namespace] = tuple(found)
        return known

    @cached_property
    def roles(self) -> dict[str, frozenset[str]]:
        """The roles of all consumers of each namespace."""
        found: dict[str, set[str]] = {}
        for consumer in self.runtime.consumers.values():
            found.setdefault(consumer.namespace, set()).update(consumer.roles)
        return {namespace: frozenset(roles) for namespace, roles in found.items()}

    def _passes(self, route: Route, who: Caller) -> bool:
        guard = route.guard
        if not guard.gates:
            return False
        for gate in guard.gates:
            if gate.methods.isdisjoint(who.methods) or not gate.all_of <= who.methods:
                return False
        # A token may add roles where a mapping reads them, and never takes any away.
        more = bool(guard.mappings)
        return any(_opens(cell, who.roles, more=more) for cell in self._cells_of(route))

    def _cells_of(self, route: Route) -> frozenset[Cell]:
        cells = self._cells.get(route.key)
        if cells is None:
            cells = self._cells[route.key] = frozenset(_cell(route.guard, asked) for asked in _uses(route))
        return cells


def _cell(guard: Guard, asked: Asked) -> Cell:
    return Cell(
        frozenset(rule.roles for rule in guard.deny if not rule.by_target and always(rule) and fits(rule, asked)),
        frozenset(
            frozenset(rule.roles for rule in rules if not never(rule) and fits(rule, asked)) for _, rules in guard.allow
        ),
    )


def _opens(cell: Cell, roles: frozenset[str], *, more: bool) -> bool:
    if any(denied is None or not denied.isdisjoint(roles) for denied in cell.denied):
        return False
    return all(any(one is None or more or not one.isdisjoint(roles) for one in allowed) for allowed in cell.allowed)
