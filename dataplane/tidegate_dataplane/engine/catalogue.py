"""Which models a caller may know of: the answer to `GET /models`.

Asking is an operation of its own, Models, that rules may name. A model is listed when its route lets the caller use it
in any operation, and no Deny rule matches the asking itself. An Allow rule that names Models lists it also for those
who may not use it; all else that guards the route holds for them too.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.authorize import Subject, matches, subject_of
from tidegate_dataplane.engine.by_target import forbidden, matches_with, targets_of
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import judge
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.gates import first_closed
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.network import Refusal, leaked
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Guard, Identity, Route, Rule
from tidegate_dataplane.snapshot.entries import Operation


def visible_models(runtime: Runtime, call: Call, now: float) -> list[str] | Denial:
    """Exact model names (no globs), sorted, that this caller may know of at this moment.

    `call` gives host, base, headers, address and keys; its operation and model are not looked at. A Denial when the
    key is refused, or when none was given and nothing is open to everyone.
    """
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        return found
    return models_for(runtime, call, NOBODY if found is None else found.identity, now)


def models_for(runtime: Runtime, call: Call, identity: Identity, now: float) -> list[str] | Denial:
    """The same for a caller that is identified (or NOBODY)."""
    return all_models(runtime, set[str]().union(*each_route(runtime, call, identity, now)), identity)


def each_route(runtime: Runtime, call: Call, identity: Identity, now: float) -> Iterator[set[str]]:
    """What the caller may know of, route by route: there may be thousands, and others must get their turn."""
    for namespace in _namespaces(identity):
        for route in _candidates(runtime, namespace):
            yield {
                model
                for model in route.entry.models
                if not model.endswith("*") and _listed(runtime, route, model, call, now, identity)
            }


def all_models(runtime: Runtime, found: set[str], identity: Identity) -> list[str] | Denial:
    """What there is to answer once all routes have been looked at."""
    if not found and identity is NOBODY:
        return denials.NO_KEY
    if not found and (leak := _leak(runtime, identity)) is not None:
        return denials.leaked_key(leak.ref)
    return sorted(found)


def _leak(runtime: Runtime, identity: Identity) -> Refusal | None:
    """A leaked key to which nothing is left is answered as an unknown one."""
    for namespace in _namespaces(identity):
        for route in _candidates(runtime, namespace):
            found = leaked(route.guard.leaks, identity, runtime.lists) if route.guard.leaks else None
            if found is not None:
                return found
    return None


def _namespaces(identity: Identity) -> set[str]:
    return {one.consumer.namespace for one in (identity, *identity.alternatives)}


def _candidates(runtime: Runtime, namespace: str) -> tuple[Route, ...]:
    """Routes that might admit callers of a namespace ("" = nobody in particular); worked out once for a Runtime."""
    known = runtime.listings.get(namespace)
    if known is None:
        known = runtime.listings[namespace] = tuple(
            route for route in runtime.routes.values() if _might_admit(route, namespace)
        )
    return known


def _might_admit(route: Route, namespace: str) -> bool:
    if not namespace:
        return bool(route.guard.gates) and first_closed(route.guard, NOBODY) is None
    return route.admits is None or namespace in route.admits


def _listed(runtime: Runtime, route: Route, model: str, call: Call, now: float, identity: Identity) -> bool:
    operations = [one for one in route.entry.operations if _claims(runtime, route, one, model, call)]
    if not operations:
        return False

    def asking(operation: Operation) -> Subject:
        return subject_of(runtime, replace(call, operation=operation, model=model), route, identity, now)

    if any(judge(asking(operation))[0] is None for operation in operations):
        return not (route.guard.deny and forbidden(route.guard, asking(Operation.MODELS)))
    rules = _listing_rules(route.guard)
    if not rules:
        return False
    subject = asking(Operation.MODELS)
    return judge(subject)[0] is None and any(_matches(rule, subject) for rule in rules)


def _claims(runtime: Runtime, route: Route, operation: Operation, model: str, call: Call) -> bool:
    claim = runtime.table.find(call.host, call.base, operation, model, call.headers)
    return claim is not None and claim[0] == route.key


def _listing_rules(guard: Guard) -> list[Rule]:
    """The Allow rules that name the operation Models."""
    return [
        rule for _, rules in guard.allow for rule in rules if rule.operations and Operation.MODELS in rule.operations
    ]


def _matches(rule: Rule, subject: Subject) -> bool:
    if not rule.by_target:
        return matches(rule, subject, None, False)
    left = subject.route.tiers if subject.tiers is None else subject.tiers
    return any(matches_with(rule, subject, target) for target in targets_of(left))
