"""One entry in, one compiled object out. Whatever can be worked out before a call comes is worked out here."""

from collections.abc import Iterator
from functools import lru_cache

from tidegate_dataplane.expressions import (
    ExpressionError,
    Program,
    ValueKind,
    ValueProgram,
    compile_expression,
    compile_value,
)
from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.expressions.environment import BACKEND
from tidegate_dataplane.ledger.demand import Window
from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.lists import AddressList, list_key
from tidegate_dataplane.runtime.objects import (
    NO_TOKEN,
    Bucket,
    Consumer,
    Credential,
    Identity,
    Leaks,
    MappingPrograms,
    Names,
    Network,
    Policy,
    Provider,
    Quota,
    QuotaLimit,
    RiskSection,
    Rule,
    RuleRef,
    Signal,
)
from tidegate_dataplane.snapshot.entries import (
    ClaimMapping,
    ConsumerEntry,
    Effect,
    KeyEntry,
    LimitEntry,
    Method,
    Mode,
    OnExceed,
    PolicyEntry,
    QuotaEntry,
    RateLimitEntry,
    RiskEntry,
    RuleEntry,
    SignalEntry,
    Source,
    TargetKind,
    TokenKind,
    TokenProviderEntry,
    WindowEntry,
    previous_name,
)
from tidegate_dataplane.snapshot.records import DIGEST_BYTES

SEPARATOR = "\x1f"
_BY_KEY = frozenset({Method.API_KEY})


def reference(kind: str, source: Source, rule: str = "") -> RuleRef:
    return RuleRef(kind, source.key, source.generation, rule)


@lru_cache(maxsize=4096)
def _program(text: str, *, by_target: bool = False) -> Program:
    return compile_expression(text, by_target=by_target)


@lru_cache(maxsize=4096)
def _value_program(text: str, kind: ValueKind) -> ValueProgram:
    return compile_value(text, kind)


@lru_cache(maxsize=4096)
def _names(names: tuple[str, ...]) -> Names:
    return Names(names)


@lru_cache(maxsize=4096)
def _roles(roles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(roles)


def lower_policy(entry: PolicyEntry) -> Policy:
    """Raises BuildError for an expression that does not compile."""
    source = entry.source
    shadow = entry.mode is Mode.SHADOW
    # Rules without an expression first: then a call seldom pays for one.
    rules = sorted((_rule(source, rule) for rule in entry.rules or ()), key=lambda rule: rule.program is not None)
    return Policy(
        ref=reference("AIPolicy", source),
        shadow=shadow,
        authentication=entry.authentication,
        providers=tuple(_provider(entry, provider) for provider in _providers(entry)),
        deny=tuple(rule for rule in rules if rule.effect is Effect.DENY),
        allow=tuple(rule for rule in rules if rule.effect is Effect.ALLOW),
        buckets=tuple(_bucket(source, limit, shadow=shadow) for limit in entry.rate_limits or ()),
        risk=None if entry.risk is None else _risk(source, entry.risk),
        network=_network(entry),
        leaks=_leaks(entry),
    )


def _providers(entry: PolicyEntry) -> tuple[TokenProviderEntry, ...]:
    return () if entry.authentication is None else entry.authentication.providers


def _provider(policy: PolicyEntry, entry: TokenProviderEntry) -> Provider:
    source = policy.source
    return Provider(
        key=f"{source.key}/{entry.name}",
        namespace=source.namespace,
        everywhere=any(ref.kind is TargetKind.GATEWAY for ref in policy.target_refs),
        shadow=policy.mode is Mode.SHADOW,
        method=Method.JWT if entry.kind is TokenKind.JWT else Method.INTROSPECTION,
        entry=entry,
        programs=None if entry.mapping is None else _mapping(f"AIPolicy {source.key} {entry.name}", entry.mapping),
    )


def _mapping(what: str, entry: ClaimMapping) -> MappingPrograms:
    def compiled(text: str, kind: ValueKind = ValueKind.TEXT) -> ValueProgram | None:
        return _value_program(text, kind) if text else None

    try:
        return MappingPrograms(
            name=compiled(entry.name),
            namespace=compiled(entry.namespace),
            team=compiled(entry.team),
            tier=compiled(entry.tier),
            roles=compiled(entry.roles, ValueKind.TEXTS),
            attributes={name: _value_program(text, ValueKind.TEXT) for name, text in entry.attributes.items()},
        )
    except ExpressionError as error:
        raise BuildError(f"{what} claims: {error}") from error


def _network(entry: PolicyEntry) -> Network | None:
    section = entry.network
    if section is None:
        return None
    return Network(
        ref=reference("AIPolicy", entry.source),
        entry=section,
        allow=AddressList.of(section.allow) if section.allow else None,
        deny=AddressList.of(section.deny) if section.deny else None,
        lists=tuple(list_key(entry.source.namespace, ref) for ref in section.deny_lists),
    )


def _leaks(entry: PolicyEntry) -> Leaks | None:
    if entry.authentication is None or not entry.authentication.leaked:
        return None
    keys = tuple(list_key(entry.source.namespace, ref) for ref in entry.authentication.leaked)
    return Leaks(reference("AIPolicy", entry.source), keys)


def _rule(source: Source, entry: RuleEntry) -> Rule:
    try:
        program = _program(entry.when, by_target=True) if entry.when else None
    except ExpressionError as error:
        raise BuildError(f"AIPolicy {source.key} rule {entry.name}: {error}") from error
    return Rule(
        ref=reference("AIPolicy", source, entry.name),
        effect=entry.effect,
        roles=_roles(entry.roles) if entry.roles else None,
        models=_names(entry.models) if entry.models else None,
        operations=frozenset(entry.operations) if entry.operations else None,
        program=program,
        versions=_names(entry.versions) if entry.versions else None,
        by_target=bool(entry.versions) or (program is not None and BACKEND in program.variables),
    )


def _risk(source: Source, entry: RiskEntry) -> RiskSection:
    return RiskSection(
        ref=reference("AIPolicy", source, "risk"),
        signals=tuple(_signal(source, signal) for signal in entry.signals),
        step_up=entry.step_up,
        approval=entry.approval,
        deny=entry.deny,
        acr_values=entry.acr_values,
        max_age=entry.max_age_ms / 1000,
    )


def _signal(source: Source, entry: SignalEntry) -> Signal:
    try:
        program = _program(entry.when) if entry.when else None
        time_zone(entry.time_zone)
    except (ExpressionError, ValueError) as error:
        raise BuildError(f"AIPolicy {source.key} risk signal {entry.name}: {error}") from error
    return Signal(
        name=entry.name,
        kind=entry.kind,
        weight=entry.weight,
        header=entry.header,
        zone=entry.time_zone,
        count=entry.count,
        period=entry.period_ms / 1000,
        after=entry.after,
        lists=tuple(list_key(source.namespace, ref) for ref in entry.lists),
        program=program,
    )


def _bucket(source: Source, entry: RateLimitEntry, *, shadow: bool) -> Bucket:
    if entry.requests <= 0 or entry.period_ms <= 0:
        raise BuildError(f"AIPolicy {source.key} rate limit {entry.name}: requests and period must be above zero")
    # A shadow limit has counters of its own, so that trying it out never touches an enforced one.
    kind = "shadow-rate" if shadow else "rate"
    return Bucket(
        ref=reference("AIPolicy", source, entry.name),
        per=entry.per,
        burst=entry.burst,
        rate=entry.requests * 1000 / entry.period_ms,
        key=SEPARATOR.join((kind, source.key, entry.name, entry.per, "")),
        shadow=shadow,
    )


def lower_quota(entry: QuotaEntry) -> Quota:
    """Raises BuildError for an unknown time zone or an empty window."""
    seen: dict[tuple[str, str], int] = {}
    return Quota(
        ref=reference("Quota", entry.source),
        per=entry.per,
        tiers=_roles(entry.tiers),
        teams=_roles(entry.teams),
        limits=tuple(_limit(entry, limit, seen) for limit in entry.limits),
    )


def _limit(quota: QuotaEntry, entry: LimitEntry, seen: dict[tuple[str, str], int]) -> QuotaLimit:
    window = _window(quota.source, entry.window)
    # Two limits of one unit and window (say Alert at 80, Block at 100) count in counters of their own.
    repeat = seen.get((entry.unit, window.label), 0)
    seen[entry.unit, window.label] = repeat + 1
    return QuotaLimit(
        ref=reference("Quota", quota.source, entry.unit),
        unit=entry.unit,
        amount=entry.amount,
        window=window,
        blocks=entry.on_exceed is OnExceed.BLOCK,
        key=SEPARATOR.join(
            ("quota", quota.source.key, entry.unit, window.label, str(repeat) if repeat else "", quota.per, "")
        ),
    )


def _window(source: Source, entry: WindowEntry) -> Window:
    if entry.calendar is None:
        if entry.sliding_ms <= 0:
            raise BuildError(f"Quota {source.key}: a window is neither a calendar period nor a length of time")
        return Window(None, "UTC", entry.sliding_ms / 1000, f"sliding:{entry.sliding_ms}ms")
    try:
        time_zone(entry.time_zone)
    except ValueError as error:
        raise BuildError(f"Quota {source.key}: {error}") from error
    return Window(entry.calendar, entry.time_zone, 0.0, f"{entry.calendar}@{entry.time_zone}")


def lower_consumer(entry: ConsumerEntry) -> Consumer:
    return Consumer(key=entry.source.key, entry=entry, namespace=entry.source.namespace, roles=_roles(entry.roles))


def lower_keys(entry: KeyEntry, consumer: Consumer) -> Iterator[Credential]:
    """The credentials of a key, none while it is not resolved: the present one, and the one that it replaced.

    Raises BuildError when a digest is no SHA-256.
    """
    if entry.sha256:
        yield _credential(entry, consumer, entry.sha256)
    if entry.previous and entry.previous_until is not None:
        yield _credential(entry, consumer, entry.previous, until=entry.previous_until)


def _credential(entry: KeyEntry, consumer: Consumer, sha256: str, *, until: int | None = None) -> Credential:
    try:
        digest = bytes.fromhex(sha256)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise BuildError(f"AIConsumer {consumer.key} key {entry.name}: sha256 must be 64 hexadecimal digits")
    name = entry.name if until is None else previous_name(entry.name)
    ends = [end for end in (entry.not_after, until) if end is not None]
    return Credential(
        name=name,
        consumer=consumer,
        not_before=float("-inf") if entry.not_before is None else entry.not_before,
        not_after=min(ends, default=float("inf")),
        revoked=entry.revoked,
        identity=Identity(consumer, _BY_KEY, (name,), (digest[:DIGEST_BYTES],), token=NO_TOKEN),
        digest=digest,
        replaced=until is not None,
    )
