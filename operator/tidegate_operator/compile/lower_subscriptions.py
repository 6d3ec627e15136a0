"""Subscriptions and approvals: their own entries, and what they grant on which route."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

from tidegate_dataplane.snapshot.entries import (
    ApprovalEntry,
    GrantEntry,
    RouteEntry,
    SubscriberEntry,
    SubscriptionEntry,
)
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.subscriptions import (
    Granted,
    Offer,
    Outcome,
    RouteGrants,
    Standing,
    SubscriptionMemo,
    approvals_of,
    by_age,
    mismatch,
    outcome_of,
    yielding,
)
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import Kind, ObjectKey

_EntryT = TypeVar("_EntryT", bound=AnyEntry)


def lower_subscriptions(forms: Forms, judged: Mapping[ObjectKey, Judged], memo: Memo, out: Lowered) -> Granted:
    """Put every subscription and approval in force; returns what each route gets from them."""
    if not forms.subscriptions and not forms.approvals:
        memo.subscriptions = SubscriptionMemo()
        return {}
    former = memo.subscriptions
    approvals = _approvals(forms, judged, memo, out)
    outcomes: dict[ObjectKey, Outcome] = {}
    for key, content in forms.subscriptions.items():
        out.entries[key] = content = _same(content, memo.entries.get(key))
        standing = _standing(content, forms, judged, approvals.get(content.source.key, ()))
        known = former.outcomes.get(key)
        outcome = known if known is not None and known.standing == standing else outcome_of(standing)
        outcomes[key] = outcome
        out.approvals[key] = outcome.approval
        if outcome.unresolved:
            out.unresolved[key] = outcome.unresolved
    granted = _granted(outcomes, forms.approvals.values(), out, former.granted)
    memo.subscriptions = SubscriptionMemo(outcomes, granted)
    return granted


def _approvals(
    forms: Forms, judged: Mapping[ObjectKey, Judged], memo: Memo, out: Lowered
) -> Mapping[str, list[ApprovalEntry]]:
    """Put approvals in force; returns those that name a subscription, by its key."""
    named: dict[str, list[ApprovalEntry]] = defaultdict(list)
    for key, content in forms.approvals.items():
        out.entries[key] = content = _same(content, memo.entries.get(key))
        if content.subscription:
            named[content.subscription].append(content)
        found = _unresolved(content, forms, judged)
        if found:
            out.unresolved[key] = found
    return named


def _unresolved(content: ApprovalEntry, forms: Forms, judged: Mapping[ObjectKey, Judged]) -> tuple[Finding, ...]:
    if content.revoked:  # kept for the records: what it spoke of may be gone
        return ()
    namespace = content.source.namespace
    if content.subscription:
        wanted = _content(_key(Kind.SUBSCRIPTION, content.subscription), forms.subscriptions, judged, SubscriptionEntry)
        if wanted is not None and not wanted.route.startswith(f"{namespace}/"):
            wanted = None
        return mismatch(content, wanted)
    if _key(Kind.ROUTE, content.route) in judged:
        return ()
    problems = Problems()
    message = f"AIRoute {content.route} does not exist: create it, or correct the name"
    problems.add("spec.request.route", message, Reason.TARGET_NOT_FOUND)
    return problems.found()


def _standing(
    content: SubscriptionEntry, forms: Forms, judged: Mapping[ObjectKey, Judged], approvals: Iterable[ApprovalEntry]
) -> Standing:
    namespace = content.route.partition("/")[0]
    route = _content(_key(Kind.ROUTE, content.route), forms.routes, judged, RouteEntry)
    own = [approval for approval in approvals if approval.source.namespace == namespace]
    return Standing(
        content=content,
        offer=_offer(route, content.source.namespace) if route is not None else None,
        consumer=_key(Kind.CONSUMER, content.consumer) in judged,
        approvals=approvals_of(own) if len(own) > 1 else tuple(own),
    )


def _offer(route: RouteEntry, namespace: str) -> Offer | None:
    """None where consumers of the namespace are not admitted: a subscription never opens a route by itself."""
    allowed = route.allowed_namespaces
    if namespace != route.source.namespace and namespace not in allowed and "*" not in allowed:
        return None
    return Offer(tuple(plan.name for plan in route.plans) if route.plans is not None else None)


def _granted(
    outcomes: Mapping[ObjectKey, Outcome], approvals: Iterable[ApprovalEntry], out: Lowered, former: Granted
) -> Granted:
    subscribed: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes.values():
        if outcome.subscriber is not None:
            subscribed[outcome.standing.content.route].append(outcome)
    calls: dict[str, list[GrantEntry]] = defaultdict(list)
    for approval in approvals:
        if approval.request and not approval.revoked and approval.not_after is not None:
            calls[approval.route].append(
                GrantEntry(approval=approval.source.key, request=approval.request, not_after=approval.not_after)
            )
    granted: dict[str, RouteGrants] = {}
    for route in subscribed.keys() | calls.keys():
        fresh = RouteGrants(
            _subscribers(subscribed.get(route, []), out),
            tuple(sorted(calls.get(route, ()), key=lambda grant: (grant.request, grant.approval))),
        )
        known = former.get(route)
        granted[route] = known if known == fresh else fresh
    return granted


def _subscribers(outcomes: list[Outcome], out: Lowered) -> tuple[SubscriberEntry, ...]:
    """By consumer, then age: of several, the first that is alive counts. The later ones are told."""
    ordered = sorted(outcomes, key=lambda one: (one.standing.content.consumer, *by_age(one.standing.content)))
    first: Outcome | None = None
    for outcome in ordered:
        content = outcome.standing.content
        if first is None or first.standing.content.consumer != content.consumer:
            first = outcome
            continue
        key = ObjectKey(Kind.SUBSCRIPTION, content.source.namespace, content.source.name)
        out.approvals[key] = yielding(outcome.approval, content, first.standing.content)
    return tuple(outcome.subscriber for outcome in ordered if outcome.subscriber is not None)


def _content(
    key: ObjectKey, forms: Mapping[ObjectKey, _EntryT], judged: Mapping[ObjectKey, Judged], kind: type[_EntryT]
) -> _EntryT | None:
    """The content in force, else that of an object that is not placed in this cluster."""
    content = forms.get(key)
    if content is None and key in judged and isinstance(declared := judged[key].content, kind):
        return declared
    return content


def _key(kind: Kind, key: str) -> ObjectKey:
    return ObjectKey(kind, *key.split("/", 1))


def _same(content: _EntryT, known: AnyEntry | None) -> _EntryT:
    """The very object of the compilation before, where it is equal: comparing is then a matter of identity."""
    return known if isinstance(known, type(content)) and known == content else content
