"""Authorization rules that decide nothing: that never match, that a Deny always covers, that repeat another."""

from collections.abc import Iterator
from typing import NamedTuple

from tidegate_dataplane.engine.by_target import backend_variables, targets_of
from tidegate_dataplane.runtime.objects import Names, Policy, Route, Rule
from tidegate_dataplane.snapshot.entries import Effect, Operation, Section
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.lint.reach import Asked, always, asked_of, fits, listed_of, never
from tidegate_operator.world import Kind, ObjectKey


class _Place(NamedTuple):
    """A route on which the rules of a policy hold, and what may be asked there."""

    route: Route
    asked: tuple[Asked, ...]


def rules(view: View) -> Iterator[Finding]:
    """All of them; a policy whose rules hold on no route is the subject of another lint."""
    places = _places(view)
    for key, policy in sorted(view.runtime.policies.items()):
        held = places.get(key, [])
        if held:
            namespace, _, name = key.partition("/")
            yield from _policy(view, ObjectKey(Kind.POLICY, namespace, name), policy, held)


def _places(view: View) -> dict[str, list[_Place]]:
    found: dict[str, list[_Place]] = {}
    for _, route in sorted(view.runtime.routes.items()):
        place = _Place(route, tuple(_with_listing(route)))
        for attachment in route.entry.policies:
            if Section.AUTHORIZATION in attachment.sections:
                found.setdefault(attachment.policy, []).append(place)
    return found


def _with_listing(route: Route) -> Iterator[Asked]:
    """What may be asked, and asking which models there are."""
    yield from asked_of(route)
    yield from listed_of(route)


def _policy(view: View, key: ObjectKey, policy: Policy, places: list[_Place]) -> Iterator[Finding]:
    for rule in _in_order(view, key, policy):
        field = view.item(key, "spec.authorization.rules", rule.ref.rule)
        about = [_Place(place.route, tuple(one for one in place.asked if fits(rule, one))) for place in places]
        reason = _never_matches(view, rule, about)
        if reason:
            yield Finding(Code.RULE_NEVER_MATCHES, key, field, f"rule {rule.ref.rule} {reason}")
            continue
        denier = None if policy.shadow or rule.effect is Effect.DENY else _denier(rule, about)
        if denier is not None:
            message = f"rule {rule.ref.rule} lets nobody in: {denier.ref} denies all that it allows"
            yield Finding(Code.RULE_ALWAYS_DENIED, key, field, message)
            continue
        other = _twin(rule, _in_order(view, key, policy), about)
        if other is not None:
            message = f"rule {rule.ref.rule} changes nothing: rule {other.ref.rule} matches whenever it does"
            yield Finding(Code.RULE_REDUNDANT, key, field, message)


def _in_order(view: View, key: ObjectKey, policy: Policy) -> list[Rule]:
    """As the author wrote them."""
    written = view.spec(key).get("authorization")
    listed = written.get("rules") if isinstance(written, dict) else None
    names = [item.get("name") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    place = {name: index for index, name in enumerate(names)}
    return sorted((*policy.deny, *policy.allow), key=lambda rule: place.get(rule.ref.rule, len(place)))


def _never_matches(view: View, rule: Rule, about: list[_Place]) -> str:
    """Why it matches no call on any of its routes; "" when it may."""
    if never(rule):
        return "never matches: its expression is false"
    asked = [place for place in about if place.asked]
    if not asked:
        what = " and ".join(name for name, given in (("models", rule.models), ("operations", rule.operations)) if given)
        return f"never matches: none of its routes offers its {what}"
    known = [place for place in asked if _known_role(view, rule, place.route)]
    if not known:
        return "never matches: no consumer that its routes admit has one of its roles"
    if not any(_known_version(rule, place) for place in known):
        return "never matches: no backend of its routes declares one of its versions"
    return ""


def _known_role(view: View, rule: Rule, route: Route) -> bool:
    if rule.roles is None or route.guard.mappings or (route.shadow is not None and route.shadow.mappings):
        return True
    namespaces = view.reach.roles.keys() if route.admits is None else route.admits
    return any(not rule.roles.isdisjoint(view.reach.roles.get(namespace, frozenset())) for namespace in namespaces)


def _known_version(rule: Rule, place: _Place) -> bool:
    if rule.versions is None:
        return True
    for target in targets_of(place.route.tiers):
        if not target.model and any(rule.versions.match(one) for one in ("", *target.backend.entry.versions.values())):
            return True
        if target.model and rule.versions.match(backend_variables(target, target.model)["version"]):
            return True
    return not place.route.tiers


def _denier(rule: Rule, about: list[_Place]) -> Rule | None:
    """A Deny rule that matches whenever this Allow rule does; there must be one on each route."""
    found: Rule | None = None
    for place in about:
        if not place.asked:
            continue
        found = next((deny for deny in place.route.guard.deny if _covers(deny, rule, place.asked)), None)
        if found is None:
            return None
    return found


def _twin(rule: Rule, others: list[Rule], about: list[_Place]) -> Rule | None:
    """Another rule of the policy that matches whenever this one does; of two equal ones the later repeats the first."""
    before = True
    for other in others:
        if other is rule:
            before = False
            continue
        if other.effect is not rule.effect or not all(_repeats(other, rule, place.asked) for place in about):
            continue
        if before or not all(_repeats(rule, other, _all_of(other, place)) for place in about):
            return other
    return None


def _all_of(rule: Rule, place: _Place) -> tuple[Asked, ...]:
    return tuple(one for one in _with_listing(place.route) if fits(rule, one))


def _repeats(wide: Rule, narrow: Rule, asked: tuple[Asked, ...]) -> bool:
    if not _covers(wide, narrow, asked):
        return False
    # An Allow rule that names Models lists models also for those who may not use them (see engine/catalogue.py).
    return narrow.effect is Effect.DENY or not _lists(narrow) or _lists(wide)


def _lists(rule: Rule) -> bool:
    return rule.operations is not None and Operation.MODELS in rule.operations


def _covers(wide: Rule, narrow: Rule, asked: tuple[Asked, ...]) -> bool:
    """Whether `wide` matches every call that `narrow` matches; `asked` is what `narrow` is about."""
    if wide.roles is not None and (narrow.roles is None or not narrow.roles <= wide.roles):
        return False
    if not _same_versions(wide.versions, narrow.versions):
        return False
    same = wide.program is not None and narrow.program is not None and wide.program.source == narrow.program.source
    return (same or always(wide)) and all(fits(wide, one) for one in asked)


def _same_versions(wide: Names | None, narrow: Names | None) -> bool:
    if wide is None:
        return True
    return narrow is not None and wide.exact == narrow.exact and wide.prefixes == narrow.prefixes
