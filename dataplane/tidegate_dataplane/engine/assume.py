"""Identities that are taken for granted: what a consumer that is named, not proved, would come in with.

For explanations and tests of policies. What a caller has proved is the business of `identify` and `prove`.
"""

from collections.abc import Iterable, Iterator, Mapping

from tidegate_dataplane.engine.gates import BY_TOKEN
from tidegate_dataplane.engine.prove import TokenProof, holders_of_token, token_variables
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import NO_TOKEN, NOBODY, Consumer, Identity, Provider
from tidegate_dataplane.snapshot.entries import Method, TokenMatchEntry
from tidegate_dataplane.snapshot.records import DIGEST_BYTES


class CannotAssume(ValueError):
    """The identity cannot be; the message says what to give."""


def assume(
    runtime: Runtime,
    consumer: Consumer | None,
    methods: Iterable[Method] = (),
    claims: Mapping[str, object] | None = None,
) -> Identity:
    """What `consumer` is once it has proved itself by all of `methods`; None for a consumer that only a token names.

    Without methods: by the first for which it has a credential. A token is one that every provider takes which may
    vouch for the consumer, with the claims by which the AIConsumer is found, and `claims` besides. Raises CannotAssume.
    """
    asked = tuple(methods) or ((Method.JWT,) if consumer is None else default_methods(consumer))
    if Method.ANONYMOUS in asked:
        if consumer is not None or len(asked) > 1:
            raise CannotAssume("Anonymous is the absence of any proof: name no consumer and no other method")
        return NOBODY
    by_token = [method for method in asked if method in BY_TOKEN]
    if len(by_token) > 1:
        raise CannotAssume("a call carries one token: name JWT or Introspection, not both")
    if not by_token:
        if consumer is None:
            raise CannotAssume("name a consumer, or method JWT with claims that a provider maps to one")
        if claims:
            raise CannotAssume("claims are of a token: name the method JWT or Introspection")
        return Identity(consumer, frozenset(asked), _names(consumer, asked), _digests(consumer, asked), token=NO_TOKEN)
    token = _by_token(runtime, consumer, by_token[0], claims or {})
    extra = [method for method in asked if method not in BY_TOKEN]
    return Identity(
        consumer=token.consumer,
        methods=frozenset(asked),
        names=(*token.names, *_names(token.consumer, extra)),
        digests=_digests(token.consumer, extra),
        vouchers=token.vouchers,
        claims=token.claims,
        token=token.token,
    )


def default_methods(consumer: Consumer) -> tuple[Method, ...]:
    """The method by which a consumer is taken to call: the first that it has a credential for."""
    return methods_of_consumer(consumer)[:1] or (Method.API_KEY,)


def methods_of_consumer(consumer: Consumer) -> tuple[Method, ...]:
    """The methods for which an AIConsumer names a credential."""
    entry = consumer.entry
    found = {
        Method.API_KEY: bool(entry.keys),
        Method.JWT: any(one.issuer for one in entry.tokens),
        Method.INTROSPECTION: any(not one.issuer for one in entry.tokens),
        Method.MTLS: bool(entry.certificates),
    }
    return tuple(method for method, known in found.items() if known)


def _by_token(runtime: Runtime, consumer: Consumer | None, method: Method, claims: Mapping[str, object]) -> Identity:
    for issuer, merged, providers in _tokens(runtime, consumer, method, claims):
        proof = TokenProof(
            method=method,
            issuer=issuer,
            claims=merged,
            variables=token_variables(issuer or _text(merged, "iss"), _text(merged, "sub"), merged),
            accepted=frozenset(provider.key for provider in providers),
            digest=b"",
        )
        holders = holders_of_token(runtime, proof)
        if consumer is None and holders:
            return next(iter(holders.values()))
        if consumer is not None and consumer.key in holders:
            return holders[consumer.key]
    who = "nobody" if consumer is None else f"AIConsumer {consumer.key}"
    raise CannotAssume(
        f"no provider of an AIPolicy vouches by {method} for {who} with these claims: "
        "check credentials, issuer and the providers' claims"
    )


def _tokens(
    runtime: Runtime, consumer: Consumer | None, method: Method, claims: Mapping[str, object]
) -> Iterator[tuple[str, dict[str, object], list[Provider]]]:
    """The tokens that the consumer may hold: those that its credentials match, else any provider's."""
    given = str(claims.get("iss", ""))
    mine = [one for one in _matches(consumer, method) if not given or one.issuer == given]
    for match in mine:
        issuer = match.issuer if method is Method.JWT else ""
        yield issuer, {"iss": match.issuer, **match.match, **claims}, _providers(runtime, method, match.issuer)
    issuers = {one.entry.issuer for one in runtime.providers.by_key.values() if one.method is method}
    for issuer in sorted(issuers):
        if not given or given == issuer:
            known = issuer if method is Method.JWT else ""
            yield known, {"iss": issuer, **claims}, _providers(runtime, method, issuer)


def _matches(consumer: Consumer | None, method: Method) -> tuple[TokenMatchEntry, ...]:
    if consumer is None:
        return ()
    return tuple(one for one in consumer.entry.tokens if bool(one.issuer) is (method is Method.JWT))


def _providers(runtime: Runtime, method: Method, issuer: str) -> list[Provider]:
    return [
        one
        for one in runtime.providers.by_key.values()
        if one.method is method and (not issuer or one.entry.issuer in (issuer, ""))
    ]


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _names(consumer: Consumer, methods: Iterable[Method]) -> tuple[str, ...]:
    entry = consumer.entry
    named = {
        Method.API_KEY: [one.name for one in entry.keys],
        Method.MTLS: [one.name for one in entry.certificates],
    }
    return tuple(names[0] for method in methods if (names := named.get(method)))


def _digests(consumer: Consumer, methods: Iterable[Method]) -> tuple[bytes, ...]:
    """By which lists of leaked keys would know the key that `_names` names; of a token nothing is known."""
    keys = consumer.entry.keys[:1] if Method.API_KEY in methods else ()
    return tuple(bytes.fromhex(key.sha256)[:DIGEST_BYTES] for key in keys if key.sha256)
