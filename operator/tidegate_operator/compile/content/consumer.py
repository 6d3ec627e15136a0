"""Own content of an AIConsumer."""

from tidegate_crds.v1alpha1.aiconsumer import AIConsumerSpec, ApiKey, MtlsCredential
from tidegate_dataplane.snapshot.entries import (
    CertificateMatchEntry,
    ConsumerEntry,
    KeyEntry,
    KeyGeneration,
    Priority,
    TokenMatchEntry,
)
from tidegate_dataplane.transport.certificate import normalised_subject
from tidegate_operator.compile.content.fields import duration_within, moment, placement_of, secret_ref, source_of
from tidegate_operator.compile.durations import DAY, MINUTE
from tidegate_operator.compile.issued import ISSUED_AT, LONGEST_KEY, PREVIOUS
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_LONGEST = 3660 * DAY


def consumer_content(resource: Resource, spec: AIConsumerSpec, facts: Facts, problems: Problems) -> ConsumerEntry:
    """Lower a valid spec. A key kept in a Secret has no hash yet."""
    credentials = spec.credentials
    return ConsumerEntry(
        source=source_of(resource),
        type=spec.type.value,
        team=spec.team or "",
        tier=spec.tier or "",
        roles=tuple(sorted(spec.roles)),
        attributes=dict(spec.attributes),
        suspended=spec.suspended,
        keys=tuple(_key(key, position, problems) for position, key in enumerate(credentials.api_keys)),
        tokens=(
            *(TokenMatchEntry(one.name, dict(sorted(one.match.items())), one.issuer) for one in credentials.jwt),
            *(TokenMatchEntry(one.name, dict(sorted(one.match.items()))) for one in credentials.introspection),
        ),
        certificates=tuple(
            _certificate(one, f"spec.credentials.mtls[{at}]", problems) for at, one in enumerate(credentials.mtls)
        ),
        placement=placement_of(spec.placement),
        priority=Priority(spec.priority.value),
    )


def _key(key: ApiKey, position: int, problems: Problems) -> KeyEntry:
    field = f"spec.credentials.apiKeys[{position}]"
    not_before = moment(key.not_before, f"{field}.notBefore", problems)
    not_after = moment(key.not_after, f"{field}.notAfter", problems)
    if not_before is not None and not_after is not None and not_before >= not_after:
        problems.add(f"{field}.notAfter", "must be later than notBefore: as it stands, the key never works")
    return KeyEntry(
        name=key.name,
        sha256=key.sha256 or "",
        not_before=not_before,
        not_after=not_after,
        secret=secret_ref(key.secret_ref) if key.secret_ref else None,
        revoked=key.revoked,
        generate=_generation(key, f"{field}.generate", problems) if key.generate else None,
    )


def _generation(key: ApiKey, field: str, problems: Problems) -> KeyGeneration:
    generate = key.generate
    if key.secret_ref is not None and len(key.secret_ref.key) > LONGEST_KEY:
        problems.add(
            field,
            f"needs a secretRef.key of at most {LONGEST_KEY} characters, because {PREVIOUS} and {ISSUED_AT} are added",
        )
    if generate is None or generate.rotate_every is None:
        return KeyGeneration()
    rotate = duration_within(generate.rotate_every, f"{field}.rotateEvery", problems, least=10 * MINUTE, most=_LONGEST)
    if generate.overlap is None:
        return KeyGeneration(rotate, rotate // 10)
    overlap = duration_within(generate.overlap, f"{field}.overlap", problems, least=0, most=_LONGEST)
    if overlap >= rotate:
        problems.add(f"{field}.overlap", "must be shorter than rotateEvery, or three keys would work at once")
    return KeyGeneration(rotate, overlap)


def _certificate(credential: MtlsCredential, field: str, problems: Problems) -> CertificateMatchEntry:
    subject = ""
    if credential.subject:
        try:
            subject = normalised_subject(credential.subject)
        except ValueError as error:
            problems.add(f"{field}.subject", str(error))
    return CertificateMatchEntry(
        name=credential.name,
        subject=subject,
        uri=credential.uri or "",
        dns=credential.dns or "",
        fingerprint=credential.fingerprint or "",
    )
