"""What becomes of one subscription: a function of it, its route, its consumer and the approvals that name it.

An approval grants only what it repeats: the very consumer, route and plan that the subscription asks for. Of several
that grant the same, the one that lasts longest counts. No clock: that something has expired is for others to say.
"""

from collections.abc import Iterable, Mapping
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


class Offer(NamedTuple):
    """A route that a subscription may refer to; `plans` are the names of its plans, None when it asks for none."""

    plans: tuple[str, ...] | None


class Standing(NamedTuple):
    """All that the fate of a subscription follows from; `approvals` are those of the route's namespace that name it."""

    content: SubscriptionEntry
    offer: Offer | None
    consumer: bool
    approvals: tuple[ApprovalEntry, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a subscription. `subscriber` is None while nothing is granted."""

    standing: Standing
    approval: Approval
    subscriber: SubscriberEntry | None = None
    unresolved: tuple[Finding, ...] = ()


@dataclass(slots=True)
class SubscriptionMemo:
    """Outcomes of the compilation before, and what each route got from them."""

    outcomes: Mapping[ObjectKey, Outcome] = field(default_factory=dict)
    granted: Granted = field(default_factory=dict)


def outcome_of(standing: Standing) -> Outcome:
    """What becomes of a subscription."""
    content = standing.content
    if standing.offer is None:
        return _unresolved(standing, ApprovalReason.ROUTE_UNKNOWN, "routeRef", *_no_route(content))
    if not standing.consumer:
        message = f"AIConsumer {content.consumer} does not exist: create it, or correct the name"
        reason = ApprovalReason.CONSUMER_UNKNOWN
        return _unresolved(standing, reason, "consumerRef", Reason.CONSUMER_UNKNOWN, message)
    if standing.offer.plans is None or content.plan not in standing.offer.plans:
        message = _no_plan(content, standing.offer)
        return _unresolved(standing, ApprovalReason.PLAN_UNKNOWN, "plan", Reason.PLAN_UNKNOWN, message)
    fitting = [approval for approval in standing.approvals if not differences(approval, content)]
    granting = [approval for approval in fitting if not approval.revoked]
    if granting:
        return _granted(standing, min(granting, key=_lasting))
    return _revoked(standing, fitting[0]) if fitting else _pending(standing)


def differences(approval: ApprovalEntry, content: SubscriptionEntry) -> tuple[str, ...]:
    """Which of consumer, route and plan the approval grants otherwise than the subscription asks."""
    pairs = (
        ("consumer", approval.consumer, content.consumer),
        ("route", approval.route, content.route),
        ("plan", approval.plan, content.plan),
    )
    return tuple(name for name, granted, asked in pairs if granted != asked)


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


def by_age(content: SubscriptionEntry) -> tuple[int, str]:
    """Order among subscriptions of one consumer to one route."""
    return content.source.created, content.source.key


def approvals_of(approvals: Iterable[ApprovalEntry]) -> tuple[ApprovalEntry, ...]:
    """In the one order in which they are looked at."""
    return tuple(sorted(approvals, key=lambda approval: (approval.source.created, approval.source.key)))


def _lasting(approval: ApprovalEntry) -> tuple[float, int, str]:
    end = float("inf") if approval.not_after is None else approval.not_after
    return -end, approval.source.created, approval.source.key


def _granted(standing: Standing, approval: ApprovalEntry) -> Outcome:
    content = standing.content
    not_after, ends_by = _end(content, approval)
    until = "without end" if not_after is None else f"until {format_timestamp(not_after)} (by {ends_by})"
    message = (
        f"{_name(approval)} grants plan {content.plan} of AIRoute {content.route} to AIConsumer {content.consumer}, "
        f"{until}."
    )
    return Outcome(
        standing,
        Approval(ApprovalReason.APPROVED, message, not_after, ends_by),
        SubscriberEntry(
            subscription=content.source.key, consumer=content.consumer, plan=content.plan, not_after=not_after
        ),
    )


def _end(content: SubscriptionEntry, approval: ApprovalEntry) -> tuple[int | None, str]:
    """The earlier end of both, and what sets it."""
    own, theirs = content.not_after, approval.not_after
    if theirs is None or (own is not None and own <= theirs):
        return own, "spec.notAfter" if own is not None else ""
    return theirs, _name(approval)


def _revoked(standing: Standing, approval: ApprovalEntry) -> Outcome:
    message = f"{_name(approval)} is revoked: ask the owner of AIRoute {standing.content.route} why."
    return Outcome(standing, Approval(ApprovalReason.REVOKED, message))


def _pending(standing: Standing) -> Outcome:
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
    return Outcome(standing, Approval(ApprovalReason.PENDING, message, not_after, ends_by))


def _unresolved(standing: Standing, word: ApprovalReason, name: str, reason: Reason, message: str) -> Outcome:
    problems = Problems()
    problems.add(f"spec.{name}", message, reason)
    return Outcome(standing, Approval(word, f"spec.{name}: {message}."), unresolved=problems.found())


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
