"""Subscriptions and approvals: their own entries, and what they grant on which route.

Thousands of them may stand beside each edit of something else, so what is the same as in the compilation before is
recognised by identity and passed by.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import attrgetter
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
    Named,
    Offer,
    Outcome,
    RouteGrants,
    Standing,
    SubscriptionMemo,
    fits,
    mismatch,
    outcome_of,
    patched,
    yielding,
)
from tidegate_operator.verdicts import Approval, Finding, Reason
from tidegate_operator.world import Kind, ObjectKey

_RANK = attrgetter("rank")
_T = TypeVar("_T")
_EntryT = TypeVar("_EntryT", bound=AnyEntry)


def lower_subscriptions(forms: Forms, judged: Mapping[ObjectKey, Judged], memo: Memo, out: Lowered) -> Granted:
    """Put every subscription and approval in force; returns what each route gets from them."""
    former = memo.subscriptions
    if not forms.subscriptions and not forms.approvals:
        memo.subscriptions = SubscriptionMemo()
        return {}
    subscriptions = _same(forms.subscriptions, former.subscriptions)
    approvals = _same(forms.approvals, former.approvals)
    named = former.named if approvals is former.approvals else patched(former.named, former.approvals, approvals)
    out.entries.update(subscriptions)
    out.entries.update(approvals)
    offers = _Offers(forms, judged, former)
    outcomes = _same(_outcomes(subscriptions, judged, offers, named, former), former.outcomes)
    again = outcomes is former.outcomes
    wanted = former.wanted if again else {one.owner[0]: one for one in outcomes.values()}
    _judge_approvals(approvals, forms, judged, wanted, out)
    for key, outcome in outcomes.items():
        out.approvals[key] = outcome.approval
        if outcome.unresolved:
            out.unresolved[key] = outcome.unresolved
    granted, later = former.granted, former.later
    if not again or approvals is not former.approvals:
        granted, later = _granted(outcomes, approvals.values(), former.granted)
    out.approvals.update(later)
    memo.subscriptions = SubscriptionMemo(
        subscriptions, approvals, named, offers.known, outcomes, wanted, granted, later
    )
    return granted


def _same(now: Mapping[ObjectKey, _T], before: Mapping[ObjectKey, _T]) -> Mapping[ObjectKey, _T]:
    """`now`, in which everything that is equal to what was there before is the same object; `before` if all is."""
    if now == before:
        return before
    return {
        key: known if (known := before.get(key)) is not None and known == item else item for key, item in now.items()
    }


def _outcomes(
    subscriptions: Mapping[ObjectKey, SubscriptionEntry],
    judged: Mapping[ObjectKey, Judged],
    offers: "_Offers",
    named: Named,
    former: SubscriptionMemo,
) -> dict[ObjectKey, Outcome]:
    outcomes: dict[ObjectKey, Outcome] = {}
    known_outcomes = former.outcomes
    for key, content in subscriptions.items():
        known = known_outcomes.get(key)
        if known is not None and known.standing.content is content:
            consumer, owner = known.consumer, known.owner
        else:
            consumer = ObjectKey(Kind.CONSUMER, key.namespace, content.consumer.partition("/")[2])
            owner = (content.source.key, content.route.partition("/")[0])
        offer, there, approvals = offers.to(content.route, key.namespace), consumer in judged, named.get(owner, ())
        if known is None or not known.standing.is_made_of(content, offer, approvals, consumer=there):
            known = outcome_of(Standing(content, offer, there, approvals), consumer, owner)
        outcomes[key] = known
    return outcomes


class _Offers:
    """What routes offer to whom; `known` are the offers by route, equal ones the same as in the compilation before."""

    def __init__(self, forms: Forms, judged: Mapping[ObjectKey, Judged], former: SubscriptionMemo) -> None:
        self._forms = forms
        self._judged = judged
        self._former = former.offers
        self.known: dict[str, Offer | None] = {}

    def to(self, route: str, namespace: str) -> Offer | None:
        """None where consumers of the namespace are not admitted: a subscription never opens a route by itself."""
        if route in self.known:
            offer = self.known[route]
        else:
            offer = self.known[route] = self._find(route)
        return offer if offer is not None and offer.admits(namespace) else None

    def _find(self, route: str) -> Offer | None:
        entry = _content(_key(Kind.ROUTE, route), self._forms.routes, self._judged, RouteEntry)
        if entry is None:
            return None
        plans = tuple(plan.name for plan in entry.plans) if entry.plans is not None else None
        offer = Offer(plans, frozenset((entry.source.namespace, *entry.allowed_namespaces)))
        former = self._former.get(route)
        return former if former == offer else offer


def _judge_approvals(
    approvals: Mapping[ObjectKey, ApprovalEntry],
    forms: Forms,
    judged: Mapping[ObjectKey, Judged],
    wanted: Mapping[str, Outcome],
    out: Lowered,
) -> None:
    """Note the approvals that grant nothing, because what they name is not there or asks for something else."""
    for key, content in approvals.items():
        outcome = wanted.get(content.subscription)
        if outcome is not None and fits(content, outcome.standing.content):
            continue
        if found := _unresolved(content, forms, judged):
            out.unresolved[key] = found


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


def _granted(
    outcomes: Mapping[ObjectKey, Outcome], approvals: Iterable[ApprovalEntry], former: Granted
) -> tuple[Granted, Mapping[ObjectKey, Approval]]:
    """What each route gets, and the word to subscriptions that an older one precedes."""
    later: dict[ObjectKey, Approval] = {}
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
            _subscribers(subscribed.get(route, []), later),
            tuple(sorted(calls.get(route, ()), key=lambda grant: (grant.request, grant.approval))),
        )
        known = former.get(route)
        granted[route] = known if known == fresh else fresh
    return granted, later


def _subscribers(outcomes: list[Outcome], later: dict[ObjectKey, Approval]) -> tuple[SubscriberEntry, ...]:
    """By consumer, then age: of several, the first that is alive counts."""
    ordered = sorted(outcomes, key=_RANK)
    first: Outcome | None = None
    for outcome in ordered:
        if first is None or (first.consumer is not outcome.consumer and first.consumer != outcome.consumer):
            first = outcome
            continue
        content = outcome.standing.content
        key = ObjectKey(Kind.SUBSCRIPTION, content.source.namespace, content.source.name)
        later[key] = yielding(outcome.approval, content, first.standing.content)
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
