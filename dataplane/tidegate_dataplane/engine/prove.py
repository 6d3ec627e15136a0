"""From what a caller has proved to who it is: key, token and certificate together, all of one consumer.

A provider vouches for consumers of its own namespace only, unless its policy is the gateway's: a tenant that trusts an
issuer of its own cannot make itself a neighbour's consumer. A token that no AIConsumer claims stands for a consumer
only where a provider's mapping names it, and then only providers that name the same one vouch for it. Consumers of
several tenants may claim one token or certificate; each route takes the one that it may know, so that no tenant can
take another's callers away.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.mapping import claims_of, mapped_consumer
from tidegate_dataplane.expressions import ValueProgram
from tidegate_dataplane.expressions.cost import MAPPING_LIMIT
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import (
    NO_TOKEN,
    NOBODY,
    Claims,
    Consumer,
    Credential,
    Identity,
    Provider,
)
from tidegate_dataplane.snapshot.entries import Method

_BY_CERTIFICATE: Final = frozenset({Method.MTLS})


class TokenProof(Struct, frozen=True, eq=False):
    """A token that the providers with the keys `accepted` take. `variables` are its members as expressions see them,
    `digest` the first 16 bytes of its SHA-256, `twin` those of its other spelling, if it has one. `issuer` is "" for
    one that was introspected."""

    method: Method
    issuer: str
    claims: dict[str, object]
    variables: dict[str, object]
    accepted: frozenset[str]
    digest: bytes
    twin: bytes = b""


class CertificateProof(Struct, frozen=True, eq=False):
    """A client certificate that was verified: the forms and values by which consumers name it."""

    forms: tuple[tuple[str, str], ...]


def token_variables(issuer: str, subject: str, claims: dict[str, object]) -> dict[str, object]:
    """The members of `token` as expressions see them; `acr` is "" and `authTime` 0 when the token does not say them in
    the form of OpenID Connect Core, section 2."""
    acr = claims.get("acr")
    return {
        "issuer": issuer,
        "subject": subject,
        "acr": acr if isinstance(acr, str) else "",
        "authTime": _seconds(claims.get("auth_time")),
        "claims": claims,
    }


def _seconds(value: object) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def prove(
    runtime: Runtime, key: Credential | None, token: TokenProof | None, certificate: CertificateProof | None
) -> Identity | Denial:
    """Who calls. A certificate that no consumer names proves nothing; a key or token must stand for somebody."""
    found: list[dict[str, Identity]] = [] if key is None else [{key.consumer.key: key.identity}]
    if token is not None:
        holders = holders_of_token(runtime, token)
        if not holders:
            return denials.UNKNOWN_TOKEN
        found.append(holders)
    if certificate is not None and (holders := holders_of_certificate(runtime, certificate)):
        found.append(holders)
    if not found:
        return NOBODY
    return _agreed(found)


def _agreed(found: list[dict[str, Identity]]) -> Identity | Denial:
    """The consumers that everything presented may stand for, those that came first before the others."""
    first, *rest = found
    together = [
        _together([one, *(other[name] for other in rest)])
        for name, one in first.items()
        if all(name in other for other in rest)
    ]
    if not together:
        return denials.DIFFERENT_CONSUMERS
    active = _active(together)
    if not active:
        return denials.SUSPENDED
    return active[0] if len(active) == 1 else replace(active[0], alternatives=tuple(active[1:]))


def _active(found: list[Identity]) -> list[Identity]:
    """Without those that are suspended; another consumer of the namespace that comes later does not take the place."""
    closed: set[str] = set()
    active: list[Identity] = []
    for one in found:
        if one.consumer.entry.suspended:
            closed.add(one.consumer.namespace)
        elif one.consumer.namespace not in closed:
            active.append(one)
    return active


def _together(found: list[Identity]) -> Identity:
    if len(found) == 1:
        return found[0]
    token = next((one for one in found if one.vouchers), found[0])
    return replace(
        token,
        methods=frozenset[Method]().union(*(one.methods for one in found)),
        names=tuple(name for one in found for name in one.names),
        digests=tuple(digest for one in found for digest in one.digests),
        resolved={},
    )


def holders_of_certificate(runtime: Runtime, proof: CertificateProof) -> dict[str, Identity]:
    """All consumers that name the certificate, by key, the oldest first."""
    return {
        match.consumer.key: Identity(match.consumer, _BY_CERTIFICATE, (match.name,), token=NO_TOKEN)
        for match in runtime.matches.of_certificate(proof.forms)
    }


def holders_of_token(runtime: Runtime, proof: TokenProof) -> dict[str, Identity]:
    """All consumers that the token may stand for, by key: declared ones, the oldest first, then mapped ones.

    Where an AIConsumer of a namespace claims the token, no mapping makes another consumer of that namespace of it.
    """
    known = runtime.providers.by_key
    taking = list(_affordable(known[key] for key in sorted(proof.accepted) if key in known))
    # A token that only Shadow policies take proves nothing to anybody; beside others, they may judge it too.
    providers = [one for one in taking if not one.shadow]
    shadows = [one for one in taking if one.shadow]
    holders: dict[str, Identity] = {}
    for match in runtime.matches.of_token(proof.issuer, proof.claims):
        vouchers = [one for one in providers if one.everywhere or one.namespace == match.consumer.namespace]
        if vouchers and match.consumer.key not in holders:
            holders[match.consumer.key] = _identity(proof, match.name, match.consumer, vouchers, shadows)
    declared = {one.consumer.namespace for one in holders.values()}
    for consumer, vouchers in _mapped(providers, proof):
        if consumer.namespace not in declared:
            holders[consumer.key] = _identity(proof, "", consumer, vouchers, shadows)
    return holders


def _affordable(providers: Iterable[Provider]) -> Iterator[Provider]:
    """Those of each namespace whose mappings cost no more together than one may: a tenant that has many providers take
    its tokens pays with those beyond, which do not take them, and not with everybody's time."""
    spent: dict[str, set[ValueProgram]] = {}
    for provider in providers:
        if provider.programs is not None:
            programs = spent.setdefault(provider.namespace, set())
            wanted = programs.union(provider.programs.all)
            if sum(program.cost for program in wanted) > MAPPING_LIMIT:
                continue
            spent[provider.namespace] = wanted
        yield provider


def _mapped(providers: Iterable[Provider], proof: TokenProof) -> Iterable[tuple[Consumer, list[Provider]]]:
    named: dict[str, tuple[Consumer, list[Provider]]] = {}
    for provider in providers:
        consumer = mapped_consumer(provider, proof.variables)
        if consumer is not None:
            named.setdefault(consumer.key, (consumer, []))[1].append(provider)
    return named.values()


def _identity(
    proof: TokenProof, name: str, consumer: Consumer, vouchers: list[Provider], shadows: list[Provider]
) -> Identity:
    judging = [one.key for one in shadows if one.everywhere or one.namespace == consumer.namespace]
    claims: dict[str, Claims] = {one.key: claims_of(one, proof.variables) for one in vouchers if one.entry.mapping}
    return Identity(
        consumer=consumer,
        methods=frozenset({proof.method}),
        names=(name,) if name else (),
        digests=(proof.digest, proof.twin) if proof.twin else (proof.digest,),
        vouchers=frozenset((*(one.key for one in vouchers), *judging)),
        claims=claims,
        token=proof.variables,
    )
