"""The authentication section of an AIPolicy."""

from tidegate_crds.v1alpha1.authentication import Authentication, IntrospectionProvider, JwtProvider
from tidegate_crds.v1alpha1.authentication import ClaimMapping as SpecMapping
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    ListKind,
    Method,
    TokenKind,
    TokenProviderEntry,
)
from tidegate_operator.compile.content.certificates import ca_bundle
from tidegate_operator.compile.content.endpoint import check_url
from tidegate_operator.compile.content.expression import check_mapping
from tidegate_operator.compile.content.fields import duration_within, secret_ref
from tidegate_operator.compile.content.lists import list_refs
from tidegate_operator.compile.durations import DAY, MINUTE, SECOND
from tidegate_operator.compile.problems import Problems

_FIELD = "spec.authentication"
_LONGEST = 30 * DAY


def authentication_content(section: Authentication, problems: Problems) -> AuthenticationEntry:
    """Lower a valid section; notes problems of URLs, certificates, durations and expressions."""
    jwt, introspection = section.jwt or (), section.introspection or ()
    taken = {provider.name for provider in jwt}
    for at, provider in enumerate(introspection):
        if provider.name in taken:
            problems.add(f"{_FIELD}.introspection[{at}].name", "is the name of a jwt provider too; choose another")
    return AuthenticationEntry(
        methods=tuple(sorted(Method(method.value) for method in section.methods)),
        all_of=tuple(sorted(Method(method.value) for method in section.all_of)),
        providers=(
            *(_jwt(provider, f"{_FIELD}.jwt[{at}]", problems) for at, provider in enumerate(jwt)),
            *(
                _introspection(provider, f"{_FIELD}.introspection[{at}]", problems)
                for at, provider in enumerate(introspection)
            ),
        ),
        leaked=list_refs(section.leaked_keys, ListKind.KEY_HASHES),
    )


def _jwt(provider: JwtProvider, field: str, problems: Problems) -> TokenProviderEntry:
    if provider.jwks_uri is not None:
        check_url(provider.jwks_uri, f"{field}.jwksUri", problems)
    elif provider.jwks_secret_ref is None:
        check_url(provider.issuer, f"{field}.issuer", problems)
    return TokenProviderEntry(
        name=provider.name,
        kind=TokenKind.JWT,
        issuer=provider.issuer,
        audiences=tuple(sorted(provider.audiences)),
        jwks_uri=provider.jwks_uri or "",
        algorithms=tuple(sorted(algorithm.value for algorithm in provider.algorithms)),
        authorized_parties=tuple(sorted(provider.authorized_parties)),
        clock_skew_ms=duration_within(provider.clock_skew, f"{field}.clockSkew", problems, least=0, most=5 * MINUTE),
        refresh_ms=duration_within(provider.refresh, f"{field}.refresh", problems, least=30 * SECOND, most=DAY),
        max_key_age_ms=duration_within(
            provider.max_key_age, f"{field}.maxKeyAge", problems, least=MINUTE, most=_LONGEST
        ),
        ca_bundle=ca_bundle(provider.tls.ca_bundle, f"{field}.tls.caBundle", problems) if provider.tls else "",
        secret=secret_ref(provider.jwks_secret_ref) if provider.jwks_secret_ref else None,
        mapping=_mapping(provider.claims, f"{field}.claims", problems),
    )


def _introspection(provider: IntrospectionProvider, field: str, problems: Problems) -> TokenProviderEntry:
    check_url(provider.endpoint, f"{field}.endpoint", problems)
    return TokenProviderEntry(
        name=provider.name,
        kind=TokenKind.INTROSPECTION,
        issuer=provider.issuer or "",
        audiences=tuple(sorted(provider.audiences)),
        endpoint=provider.endpoint,
        client_id=provider.client_id,
        cache_ms=duration_within(provider.cache, f"{field}.cache", problems, least=0, most=5 * MINUTE),
        ca_bundle=ca_bundle(provider.tls.ca_bundle, f"{field}.tls.caBundle", problems) if provider.tls else "",
        secret=secret_ref(provider.client_secret_ref),
        mapping=_mapping(provider.claims, f"{field}.claims", problems),
    )


def _mapping(mapping: SpecMapping | None, field: str, problems: Problems) -> ClaimMapping | None:
    if mapping is None:
        return None
    entry = ClaimMapping(
        name=mapping.name or "",
        namespace=mapping.namespace or "",
        team=mapping.team or "",
        tier=mapping.tier or "",
        roles=mapping.roles or "",
        attributes=dict(sorted(mapping.attributes.items())),
    )
    check_mapping(entry, field, problems)
    return entry
