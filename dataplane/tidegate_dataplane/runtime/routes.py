"""The effective route: an entry joined with the policies, quotas and backends that it names."""

from collections import deque
from collections.abc import Iterable, Mapping
from functools import lru_cache

from tidegate_dataplane.expressions.cost import ROUTE_LIMIT
from tidegate_dataplane.runtime.lower import reference
from tidegate_dataplane.runtime.objects import Backend, Gate, Guard, Policy, Provider, Quota, Route, Target, Tier
from tidegate_dataplane.runtime.subscribers import lower_subscriptions
from tidegate_dataplane.snapshot.entries import (
    Attachment,
    AuthenticationEntry,
    Method,
    QuotaScope,
    RateLimitScope,
    RouteEntry,
    Section,
    TargetEntry,
    Unavailable,
)

Guards = tuple[Guard, Guard | None]
# Scopes whose value the call itself decides, and not who calls.
_PER_CALL = (QuotaScope.ADDRESS, QuotaScope.MODEL, QuotaScope.KEY)


class RouteBuilder:
    """Joins routes to one world of policies, quotas and backends; equal attachments share one guard."""

    def __init__(
        self, policies: Mapping[str, Policy], quotas: Mapping[str, Quota], backends: Mapping[str, Backend]
    ) -> None:
        self._policies = policies
        self.quotas = quotas
        self._backends = backends
        self._guards: dict[tuple[Attachment, ...], Guards] = {}
        self._namespaces: dict[tuple[str, ...], frozenset[str]] = {}

    def build(self, entry: RouteEntry, former: Route | None = None) -> Route:
        """What is named and not there makes the route unavailable (policy, quota) or loses a target (backend).

        `former` is the route before, whose subscribers are kept when they are the same.
        """
        namespace = entry.source.namespace
        guards = self._guards.get(entry.policies)
        if guards is None:
            guards = self._guards[entry.policies] = self._fold(entry.policies)
        reached = tiers(entry.targets, self._backends)
        quotas = with_parents(entry.quotas, self.quotas)
        cost, shadow_cost = (0 if guard is None else _cost(guard, reached) for guard in guards)
        return Route(
            key=entry.source.key,
            ref=reference("AIRoute", entry.source),
            entry=entry,
            namespace=namespace,
            admits=None if "*" in entry.allowed_namespaces else self._admits((namespace, *entry.allowed_namespaces)),
            unavailable=(*entry.unavailable, *self._missing(entry)),
            tiers=reached,
            guard=guards[0],
            # What is only tried closes nothing; then it is not tried.
            shadow=guards[1] if cost + shadow_cost <= ROUTE_LIMIT else None,
            quotas=tuple(quota for quota in quotas if quota.per not in (*_PER_CALL, QuotaScope.BACKEND)),
            per_call=tuple(quota for quota in quotas if quota.per in _PER_CALL),
            per_backend=tuple(quota for quota in quotas if quota.per is QuotaScope.BACKEND),
            fallbacks=tiers(entry.targets, self._backends, fallback=True),
            priced=any(limit.priced for quota in quotas for limit in quota.limits),
            timeout=entry.timeout_ms / 1000,
            stream_idle_timeout=entry.stream_idle_timeout_ms / 1000,
            variables={"name": entry.source.name, "namespace": namespace},
            subscriptions=lower_subscriptions(entry, former),
            too_costly=cost if cost > ROUTE_LIMIT else 0,
        )

    def _admits(self, namespaces: tuple[str, ...]) -> frozenset[str]:
        return self._namespaces.setdefault(namespaces, frozenset(namespaces))

    def _missing(self, entry: RouteEntry) -> Iterable[Unavailable]:
        for attachment in entry.policies:
            if attachment.policy not in self._policies:
                yield Unavailable("AIPolicy", attachment.policy)
        for key in (*entry.quotas, *(quota.entry.parent for quota in with_parents(entry.quotas, self.quotas))):
            if key and key not in self.quotas:
                yield Unavailable("Quota", key)

    def _fold(self, attachments: tuple[Attachment, ...]) -> Guards:
        attached = [
            (self._policies[attachment.policy], attachment.sections)
            for attachment in attachments
            if attachment.policy in self._policies
        ]
        enforced = fold((policy, sections) for policy, sections in attached if not policy.shadow)
        shadowed = [(policy, sections) for policy, sections in attached if policy.shadow]
        return enforced, fold(shadowed) if shadowed else None


def fold(attached: Iterable[tuple[Policy, tuple[Section, ...]]]) -> Guard:
    """All sections in force, together: methods intersect, rules and limits add up."""
    pairs = tuple(attached)
    gates = tuple(
        _gate(policy, policy.authentication)
        for policy, sections in pairs
        if policy.authentication is not None and Section.AUTHENTICATION in sections
    )
    asked = [policy for policy, sections in pairs if Section.AUTHENTICATION in sections]
    ruled = [policy for policy, sections in pairs if Section.AUTHORIZATION in sections]
    limited = [policy for policy, sections in pairs if Section.RATE_LIMITS in sections]
    rules = [rule for policy in ruled for rule in (*policy.deny, *policy.allow)]
    risks = tuple(policy.risk for policy, sections in pairs if policy.risk is not None and Section.RISK in sections)
    deny = [rule for policy in ruled for rule in policy.deny]
    groups = [(policy.ref, policy.allow) for policy in ruled if policy.allow]
    buckets = tuple(bucket for policy in limited for bucket in policy.buckets)
    return Guard(
        gates=gates,
        providers=_by_method(provider for policy in asked for provider in policy.providers),
        mappings=frozenset(
            provider.key for policy in asked for provider in policy.providers if provider.entry.mapping is not None
        ),
        # What is cheap comes first, here and within each policy.
        deny=tuple(sorted(deny, key=lambda rule: rule.program is not None)),
        allow=tuple(sorted(groups, key=lambda group: group[1][0].program is not None)),
        buckets=buckets,
        risks=risks,
        by_call=tuple(bucket for bucket in buckets if bucket.per in (RateLimitScope.ADDRESS, RateLimitScope.MODEL)),
        networks=tuple(
            policy.network for policy, sections in pairs if policy.network is not None and Section.NETWORK in sections
        ),
        leaks=tuple(policy.leaks for policy in asked if policy.leaks is not None),
        by_target=any(rule.by_target for rule in rules),
        cost=sum(rule.cost for rule in rules if not rule.by_target) + sum(risk.cost for risk in risks),
        target_cost=sum(rule.cost for rule in rules if rule.by_target),
    )


def _cost(guard: Guard, reached: tuple[Tier, ...]) -> int:
    """At the most: rules on the backend are asked for each target, and all of them for each mapping of claims."""
    views = max(1, len(guard.mappings))
    return views * (guard.cost + guard.target_cost * sum(len(tier.orders) for tier in reached))


def _gate(policy: Policy, entry: AuthenticationEntry) -> Gate:
    return Gate(
        ref=policy.ref,
        methods=frozenset(entry.methods),
        all_of=frozenset(entry.all_of),
        providers=_by_method(policy.providers),
    )


def _by_method(providers: Iterable[Provider]) -> dict[Method, frozenset[str]]:
    keys: dict[Method, set[str]] = {}
    for provider in providers:
        keys.setdefault(provider.method, set()).add(provider.key)
    return {method: frozenset(found) for method, found in keys.items()}


def with_parents(keys: Iterable[str], quotas: Mapping[str, Quota]) -> tuple[Quota, ...]:
    """The quotas with these keys and all above them, each once; those that are missing are left out."""
    found: dict[str, Quota] = {}
    waiting = deque(keys)
    while waiting:
        key = waiting.popleft()
        if key and key not in found and key in quotas:
            found[key] = quotas[key]
            waiting.append(quotas[key].entry.parent)
    return tuple(found.values())


def tiers(
    entries: tuple[TargetEntry, ...], backends: Mapping[str, Backend], *, fallback: bool = False
) -> tuple[Tier, ...]:
    """Usable targets by priority, either the fallbacks or the others; those without weight or backend are left out."""
    by_priority: dict[int, list[Target]] = {}
    for entry in entries:
        backend = backends.get(entry.backend)
        if backend is not None and entry.weight > 0 and entry.fallback is fallback:
            target = Target(backend, entry.model, entry.weight, entry.priority)
            by_priority.setdefault(entry.priority, []).append(target)
    return _tiers(by_priority)


@lru_cache(maxsize=1024)
def without(route: tuple[Tier, ...], left_out: frozenset[Target]) -> tuple[Tier, ...]:
    """Tiers without some of their targets; the weights of those that remain keep their proportions."""
    by_priority: dict[int, list[Target]] = {}
    for tier in route:
        for order in tier.orders:
            if order[0] not in left_out:
                by_priority.setdefault(order[0].priority, []).append(order[0])
    return _tiers(by_priority)


def _tiers(by_priority: Mapping[int, list[Target]]) -> tuple[Tier, ...]:
    return tuple(_tier(by_priority[priority]) for priority in sorted(by_priority))


def _tier(targets: list[Target]) -> Tier:
    if len(targets) == 1:
        return Tier((1.0,), (tuple(targets),))
    total = sum(target.weight for target in targets)
    bounds: list[float] = []
    reached = 0
    for target in targets:
        reached += target.weight
        bounds.append(reached / total)
    falling = sorted(targets, key=lambda target: -target.weight)
    orders = tuple((first, *(other for other in falling if other is not first)) for first in targets)
    return Tier(tuple(bounds), orders)
