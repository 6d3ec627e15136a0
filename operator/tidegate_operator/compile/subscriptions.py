"""What becomes of one subscription: a function of it, its route, its consumer and the approvals that name it.

An approval grants only what it repeats: the very consumer, route and plan that the subscription asks for. Of several
that grant the same, the one that lasts longest counts. No clock: that something has expired is for others to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tidegate_dataplane.snapshot.entries import ApprovalEntry, GrantEntry, SubscriberEntry, SubscriptionEntry
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.verdicts import Approval, ApprovalReason, Finding, Reason
from tidegate_operator.world import ObjectKey


class RouteGrants(NamedTuple):
    """The derived part of a route that comes from subscriptions and approvals."""

    subscribers: tuple[SubscriberEntry, ...]
    grants: tuple[GrantEntry, ...]


NO_GRANTS: Final = RouteGrants((), ())
# By the key of the route.
Granted = Mapping[str, RouteGrants]
# Approvals by the key of the subscription that they name and the namespace in which they stand, the oldest first.
Named = Mapping[tuple[str, str], tuple[ApprovalEntry, ...]]


class Offer(NamedTuple):
    """What of a route concerns subscriptions: the names of its plans (None when it asks for none), and whose namespaces
    it admits."""

    plans: tuple[str, ...] | None
    namespaces: frozenset[str]

    def admits(self, namespace: str) -> bool:
        return namespace in self.namespaces or "*" in self.namespaces


class Standing(NamedTuple):
    """All that the fate of a subscription follows from; `approvals` are those of the route's namespace that name it.

    `offer` is None where there is no route for it, `consumer` tells whether its consumer is declared.
    """

    content: SubscriptionEntry
    offer: Offer | None
    consumer: bool
    approvals: tuple[ApprovalEntry, ...]

    def is_made_of(
        self, content: SubscriptionEntry, offer: Offer | None, approvals: tuple[ApprovalEntry, ...], *, consumer: bool
    ) -> bool:
        """Whether it consists of these very objects."""
        return (
            self.content is content
            and self.offer is offer
            and self.approvals is approvals
            and self.consumer is consumer
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a subscription, whose is `consumer`. `subscriber` is None while nothing is granted.

    `owner` is what approvals of it are found by, `rank` its place among the subscribers of a route.
    """

    standing: Standing
    consumer: ObjectKey
    owner: tuple[str, str]
    approval: Approval
    subscriber: SubscriberEntry | None = None
    unresolved: tuple[Finding, ...] = ()
    rank: tuple[str, int, str] = ("", 0, "")


@dataclass(frozen=True, slots=True)
class SubscriptionMemo:
    """What the compilation before saw, and what came of it.

    `wanted` are the outcomes by the key of the subscription, `later` the words to those that an older one precedes.
    """

    subscriptions: Mapping[ObjectKey, SubscriptionEntry] = field(default_factory=dict)
    approvals: Mapping[ObjectKey, ApprovalEntry] = field(default_factory=dict)
    named: Named = field(default_factory=dict)
    offers: Mapping[str, Offer | None] = field(default_factory=dict)
    outcomes: Mapping[ObjectKey, Outcome] = field(default_factory=dict)
    wanted: Mapping[str, Outcome] = field(default_factory=dict)
    granted: Granted = field(default_factory=dict)
    later: Mapping[ObjectKey, Approval] = field(default_factory=dict)


def outcome_of(standing: Standing, consumer: ObjectKey, owner: tuple[str, str]) -> Outcome:
    """What becomes of the subscription of a consumer."""
    unresolved = _unresolved(standing)
    if unresolved is not None:
        word, findings = unresolved
        (found,) = findings
        approval = Approval(word, f"{found.field}: {found.message}.")
        return Outcome(standing, consumer, owner, approval, unresolved=findings)
    content = standing.content
    fitting = [approval for approval in standing.approvals if fits(approval, content)]
    granting = [approval for approval in fitting if not approval.revoked]
    if granting:
        approval, subscriber = _granted(content, min(granting, key=_lasting))
        rank = (content.consumer, content.source.created, content.source.key)
        return Outcome(standing, consumer, owner, approval, subscriber, rank=rank)
    return Outcome(standing, consumer, owner, _revoked(content, fitting[0]) if fitting else _pending(standing))


def fits(approval: ApprovalEntry, content: SubscriptionEntry) -> bool:
    """Whether an approval grants the consumer, route and plan that the subscription asks for."""
    return approval.plan == content.plan and approval.route == content.route and approval.consumer == content.consumer


def differences(approval: ApprovalEntry, content: SubscriptionEntry) -> tuple[str, ...]:
    """Which of consumer, route and plan the approval grants otherwise than the subscription asks."""
    return tuple(name for name in ("consumer", "route", "plan") if getattr(approval, name) != getattr(content, name))


def mismatch(approval: ApprovalEntry, content: SubscriptionEntry | None) -> tuple[Finding, ...]:
    """What keeps an approval from granting the subscription that it names (None: there is none for this namespace)."""
    problems = Problems()
    if content is None:
        problems.add(
            "spec.subscription.name",
            f"AISubscription {approval.subscription} does not exist, or asks for no route of namespace "
            f"{approval.source.namespace}: correct the name, or remove this approval",
            Reason.SUBSCRIPTION_NOT_FOUND,
        )
        return problems.found()
    for name in differences(approval, content):
        asked = getattr(content, name).rpartition("/")[2]
        problems.add(
            f"spec.subscription.{name}",
            f"AISubscription {approval.subscription} asks for the {name} {asked}: read it again, and write here what "
            "you grant",
            Reason.MISMATCH,
        )
    return problems.found()


def yielding(approval: Approval, content: SubscriptionEntry, first: SubscriptionEntry) -> Approval:
    """The word to a subscription that an older one of the same consumer to the same route precedes."""
    message = (
        f"AISubscription {first.source.key} (plan {first.plan}) is older and counts first; this one (plan "
        f"{content.plan}) takes over when that one ends: delete one of them."
    )
    return Approval(approval.reason, message, approval.not_after, approval.ends_by)


def patched(named: Named, before: Mapping[ObjectKey, ApprovalEntry], after: Mapping[ObjectKey, ApprovalEntry]) -> Named:
    """`named`, which was made of `before`, as made of `after`; what did not change stays the same object."""
    result = dict(named)
    for key, old in before.items():
        if old.subscription and after.get(key) is not old:
            where = _named_by(old)
            result[where] = tuple(one for one in result[where] if one is not old)
    for key, new in after.items():
        if new.subscription and before.get(key) is not new:
            where = _named_by(new)
            present = (*result.get(where, ()), new)
            result[where] = tuple(sorted(present, key=lambda one: (one.source.created, one.source.name)))
    return {where: found for where, found in result.items() if found}


def _named_by(approval: ApprovalEntry) -> tuple[str, str]:
    return approval.subscription, approval.source.namespace


def _lasting(approval: ApprovalEntry) -> tuple[float, int, str]:
    end = float("inf") if approval.not_after is None else approval.not_after
    return -end, approval.source.created, approval.source.key


def _granted(content: SubscriptionEntry, approval: ApprovalEntry) -> tuple[Approval, SubscriberEntry]:
    not_after, ends_by = _end(content, approval)
    until = "without end" if not_after is None else f"until {format_timestamp(not_after)} (by {ends_by})"
    message = (
        f"{_name(approval)} grants plan {content.plan} of AIRoute {content.route} to AIConsumer {content.consumer}, "
        f"{until}."
    )
    return Approval(ApprovalReason.APPROVED, message, not_after, ends_by), SubscriberEntry(
        subscription=content.source.key, consumer=content.consumer, plan=content.plan, not_after=not_after
    )


def _end(content: SubscriptionEntry, approval: ApprovalEntry) -> tuple[int | None, str]:
    """The earlier end of both, and what sets it."""
    own, theirs = content.not_after, approval.not_after
    if theirs is None or (own is not None and own <= theirs):
        return own, "spec.notAfter" if own is not None else ""
    return theirs, _name(approval)


def _revoked(content: SubscriptionEntry, approval: ApprovalEntry) -> Approval:
    return Approval(
        ApprovalReason.REVOKED, f"{_name(approval)} is revoked: ask the owner of AIRoute {content.route} why."
    )


def _pending(standing: Standing) -> Approval:
    content = standing.content
    namespace, _, route = content.route.partition("/")
    granted = f"namespace: {content.source.namespace}, name: {content.source.name}"
    granted += f", consumer: {content.consumer.rpartition('/')[2]}, route: {route}, plan: {content.plan}"
    others = "".join(
        f"{_name(approval)} grants another {' and '.join(differences(approval, content))}. "
        for approval in standing.approvals
    )
    not_after = content.not_after
    end = "" if not_after is None else f" Access will end at {format_timestamp(not_after)} (spec.notAfter)."
    message = (
        f"{others}Waits for the owner of AIRoute {content.route}: `tidegate approve {content.source.key} | "
        f"kubectl apply -f -`, or an AIApproval in namespace {namespace} with spec.subscription: {{{granted}}}.{end}"
    )
    ends_by = "" if not_after is None else "spec.notAfter"
    return Approval(ApprovalReason.PENDING, message, not_after, ends_by)


def _unresolved(standing: Standing) -> tuple[ApprovalReason, tuple[Finding, ...]] | None:
    """What is missing, if anything is: the route, the consumer or the plan."""
    content, offer = standing.content, standing.offer
    problems = Problems()
    if offer is None:
        reason, message = _no_route(content)
        problems.add("spec.routeRef", message, reason)
        return ApprovalReason.ROUTE_UNKNOWN, problems.found()
    if not standing.consumer:
        message = f"AIConsumer {content.consumer} does not exist: create it, or correct the name"
        problems.add("spec.consumerRef", message, Reason.CONSUMER_UNKNOWN)
        return ApprovalReason.CONSUMER_UNKNOWN, problems.found()
    if offer.plans is None or content.plan not in offer.plans:
        problems.add("spec.plan", _no_plan(content, offer), Reason.PLAN_UNKNOWN)
        return ApprovalReason.PLAN_UNKNOWN, problems.found()
    return None


def _no_route(content: SubscriptionEntry) -> tuple[Reason, str]:
    namespace = content.source.namespace
    if content.route.startswith(f"{namespace}/"):
        return Reason.TARGET_NOT_FOUND, f"AIRoute {content.route} does not exist or was never valid: see its status"
    # The same words whether it exists or not: else one could find out what there is in other namespaces.
    return Reason.REF_NOT_PERMITTED, (
        f"AIRoute {content.route} is not available to namespace {namespace}: it does not exist there, or its "
        f"spec.allowedNamespaces does not list {namespace}"
    )


def _no_plan(content: SubscriptionEntry, offer: Offer) -> str:
    if offer.plans is None:
        return f"AIRoute {content.route} has no plans, for it needs no subscription: delete this one"
    return f"AIRoute {content.route} has no such plan: choose one of {', '.join(offer.plans)}"


def _name(approval: ApprovalEntry) -> str:
    return f"AIApproval {approval.source.key}"
