"""One entry in, one compiled object out. Whatever can be worked out before a call comes is worked out here."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

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
from tidegate_dataplane.ledger.demand import Measure, Terms
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
    RiskSection,
    Rule,
    RuleRef,
    Signal,
)
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    ClaimMapping,
    ConsumerEntry,
    Effect,
    FailureMode,
    KeyEntry,
    Method,
    Mode,
    PolicyEntry,
    QuotaScope,
    RateLimitEntry,
    RateLimitScope,
    RiskEntry,
    RuleEntry,
    SignalEntry,
    Source,
    TargetKind,
    TokenKind,
    TokenProviderEntry,
    Unit,
    previous_name,
)
from tidegate_dataplane.snapshot.records import DIGEST_BYTES

SEPARATOR = "\x1f"
# Callers choose names of models where a route takes any: so many have counters of their own.
MOST_VALUES: Final = 1_000
# Whoever has a network of IPv6 can call from more addresses than any store has room for.
MOST_ADDRESSES: Final = 100_000
# By the scope of a quota or a rate limit.
MOST_BY_CALL: Final[dict[str, int]] = {QuotaScope.MODEL: MOST_VALUES, QuotaScope.ADDRESS: MOST_ADDRESSES}
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
    ref = reference("AIPolicy", source, entry.name)
    key = SEPARATOR.join((kind, source.key, entry.name, entry.per, ""))
    accuracy = Accuracy.LOCAL if shadow else entry.accuracy
    return lower_bucket(
        ref, key, entry.per, entry.requests, entry.period_ms, entry.burst, accuracy, entry.failure_mode, shadow=shadow
    )


def lower_bucket(
    ref: RuleRef,
    key: str,
    per: RateLimitScope,
    requests: int,
    period_ms: int,
    burst: int,
    accuracy: Accuracy = Accuracy.LOCAL,
    failure: FailureMode = FailureMode.CLOSED,
    *,
    shadow: bool = False,
) -> Bucket:
    """A token bucket of `burst` requests that refills `requests` per `period_ms`."""
    rate = requests * 1000 / period_ms
    terms = Terms(
        kind=ref.kind,
        object=ref.key,
        generation=ref.generation,
        name=ref.rule,
        unit=Unit.REQUESTS,
        measure=Measure.REQUESTS,
        key=key,
        rate=rate,
        accuracy=accuracy,
        failure=failure,
        most_values=MOST_BY_CALL.get(per, 0),
    )
    return Bucket(ref, per, burst, rate, key, shadow, terms)


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
