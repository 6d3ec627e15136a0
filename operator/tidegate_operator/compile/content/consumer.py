"""Own content of an AIConsumer."""

from tidegate_crds.v1alpha1.aiconsumer import AIConsumerSpec, ApiKey
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry
from tidegate_operator.compile.content.fields import placement_of, secret_ref, source_of
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.timestamps import parse_timestamp
from tidegate_operator.world import Facts, Resource


def consumer_content(resource: Resource, spec: AIConsumerSpec, facts: Facts, problems: Problems) -> ConsumerEntry:
    """Lower a valid spec. A key kept in a Secret has no hash yet."""
    return ConsumerEntry(
        source=source_of(resource),
        type=spec.type.value,
        team=spec.team or "",
        tier=spec.tier or "",
        roles=tuple(sorted(spec.roles)),
        attributes=dict(spec.attributes),
        suspended=spec.suspended,
        keys=tuple(_key(key, position, problems) for position, key in enumerate(spec.credentials.api_keys)),
        placement=placement_of(spec.placement),
    )


def _key(key: ApiKey, position: int, problems: Problems) -> KeyEntry:
    field = f"spec.credentials.apiKeys[{position}]"
    not_before = _time(key.not_before, f"{field}.notBefore", problems)
    not_after = _time(key.not_after, f"{field}.notAfter", problems)
    if not_before is not None and not_after is not None and not_before >= not_after:
        problems.add(f"{field}.notAfter", "must be later than notBefore: as it stands, the key never works")
    return KeyEntry(
        name=key.name,
        sha256=key.sha256 or "",
        not_before=not_before,
        not_after=not_after,
        secret=secret_ref(key.secret_ref) if key.secret_ref else None,
    )


def _time(text: str | None, field: str, problems: Problems) -> int | None:
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        problems.add(field, str(error))
        return None
