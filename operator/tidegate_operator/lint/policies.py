"""Policies and their sections that hold nowhere."""

from collections.abc import Iterator

from tidegate_dataplane.snapshot.entries import PolicyEntry, RouteEntry, Section, Strength, TargetKind
from tidegate_operator.compile.attach import outline
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View

_FIELDS = {
    Section.AUTHENTICATION: "spec.authentication",
    Section.AUTHORIZATION: "spec.authorization",
    Section.RATE_LIMITS: "spec.rateLimits",
    Section.NETWORK: "spec.network",
    Section.RISK: "spec.risk",
}


def policies(view: View) -> Iterator[Finding]:
    """Without a route, or with strength Default and a section that narrower ones replace everywhere."""
    held: dict[str, set[Section]] = {}
    for route in view.routes.values():
        for attachment in route.policies:
            held.setdefault(attachment.policy, set()).update(attachment.sections)
    for key, policy in view.policies.items():
        in_force = held.get(policy.source.key, set())
        reached = bool(in_force) or any(_reaches(view, policy, route) for route in view.routes.values())
        if not reached:
            yield Finding(Code.POLICY_WITHOUT_ROUTE, key, "spec.targetRefs", "none of its targets is a served route")
        elif policy.strength is Strength.DEFAULT:
            for section in outline(policy).sections:
                if section not in in_force:
                    message = "narrower policies have this section on every route that it reaches"
                    yield Finding(Code.DEFAULT_REPLACED, key, _FIELDS[section], message)


def _reaches(view: View, policy: PolicyEntry, route: RouteEntry) -> bool:
    own = policy.source.namespace == route.source.namespace
    for target in policy.target_refs:
        match target.kind:
            case TargetKind.GATEWAY if policy.source.namespace == view.facts.platform_namespace:
                return True
            case TargetKind.NAMESPACE if own:
                return True
            case TargetKind.AI_ROUTE if own and target.name == route.source.name:
                return True
    return False
