"""Who calls, from everything that a request shows: key, token, client certificate.

API keys, certificates and tokens that are known already cost no wait. A new token waits for its verification. A token
is shown only to the introspection endpoints of the route that it is meant for, so one that no key proves waits until
the route is known: whoever runs an endpoint learns what it is asked about. That holds for signed tokens too: what the
providers of other routes say of one, or cannot say, must not decide about a route whose policies ask a server.
"""

from collections.abc import Collection
from hashlib import sha256
from typing import Final

from tidegate_dataplane.authenticate.failures import FAILURE_CODES, FailureLimiter, too_many_failures
from tidegate_dataplane.authenticate.jose import other_spelling
from tidegate_dataplane.authenticate.refusal import BY_KEYS, Reason, Refusal
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.behaviour import Behaviour
from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.identify import identify, is_key
from tidegate_dataplane.engine.prove import CertificateProof, TokenProof, prove, token_variables
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.proxy.keys import Presented
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Identity
from tidegate_dataplane.snapshot.entries import Method, TokenKind
from tidegate_dataplane.snapshot.records import DIGEST_BYTES
from tidegate_dataplane.transport.certificate import ClientCertificate

_REMEMBERED: Final = 16_384
_MAX_BYTES: Final = 16 * 1024 * 1024  # of the tokens whose holders are remembered
_NOT_SIGNED: Final = frozenset({Reason.MALFORMED, Reason.WRONG_ISSUER})
_DOTS: Final = 2  # of a signed JWT in compact form (RFC 7515, section 3.1)
_NONE: Final[frozenset[str]] = frozenset()


class Authenticator:
    """Belongs to one event loop. Failures are limited, and remembered for those who weigh risk."""

    def __init__(self, tokens: Tokens, failures: FailureLimiter, behaviour: Behaviour) -> None:
        self._tokens = tokens
        self._failures = failures
        self._behaviour = behaviour
        # Of one Runtime only: what is kept for a former one would keep all of it.
        self._runtime: Runtime | None = None
        self._identities: dict[int, tuple[Verified, Identity | Denial]] = {}
        self._bytes = 0

    def at_once(self, runtime: Runtime, exchange: Exchange, presented: Presented) -> Identity | Denial | None:
        """Who calls, or why it is refused; None when `by_token` must be asked."""
        bearer, now = presented.bearer, exchange.arrived
        found = identify(runtime, presented.all, now)
        if isinstance(found, Denial):
            if not bearer or not runtime.providers or is_key(runtime, bearer):
                return self._failed(found, exchange, presented)
            # The bearer may be a token; then only what stands in other headers is a key.
            known = self._tokens.cached(bearer, now)
            return None if known is None else self._early(runtime, exchange, presented, known)
        if exchange.certificate is None:
            return NOBODY if found is None else found.identity
        return self._or_failed(prove(runtime, found, None, _proof_of(exchange.certificate)), exchange, presented)

    async def by_token(
        self, runtime: Runtime, exchange: Exchange, presented: Presented, among: Collection[str] | None = None
    ) -> Identity | Denial | None:
        """The same, after waiting for a verification. `among` are the keys of the route's providers. Without it, when
        the route is not known yet, the answer is None where they may matter."""
        wait = self._failures.address_limited(exchange.address, exchange.arrived)
        if wait is not None:
            return too_many_failures(wait)
        if among is None:
            result = await self._tokens.verify(presented.bearer, exchange.arrived, _NONE)
            return self._early(runtime, exchange, presented, result)
        result = await self._tokens.verify(presented.bearer, exchange.arrived, among)
        return self._or_failed(self._who(runtime, exchange, presented, result), exchange, presented)

    async def otherwise(
        self, runtime: Runtime, exchange: Exchange, presented: Presented, among: Collection[str]
    ) -> Identity | Denial:
        """What the providers in `among` say of a token for which others vouch. A refusal is no failure of the caller,
        who may only have gone to the wrong route."""
        result = await self._tokens.verify(presented.bearer, exchange.arrived, among)
        return self._who(runtime, exchange, presented, result)

    def _early(
        self, runtime: Runtime, exchange: Exchange, presented: Presented, result: Verified | Refusal
    ) -> Identity | Denial | None:
        """Before the route is known, a refusal is final only where no provider of the route could say otherwise."""
        found = self._who(runtime, exchange, presented, result)
        if isinstance(found, Identity):
            return found
        if isinstance(result, Verified) or runtime.providers.introspecting:
            return None
        # A refusal that is remembered no other key can change.
        open = result.reason in BY_KEYS and self._tokens.cached(presented.bearer, exchange.arrived) is None
        return None if open else self._failed(found, exchange, presented)

    def _who(
        self, runtime: Runtime, exchange: Exchange, presented: Presented, result: Verified | Refusal
    ) -> Identity | Denial:
        if isinstance(result, Refusal):
            return _denial_of(result, presented.bearer)
        if exchange.certificate is None and not presented.keys:
            return self._holder(runtime, presented.bearer, result)
        key = identify(runtime, presented.keys, exchange.arrived)
        if isinstance(key, Denial):
            return key
        proof = None if exchange.certificate is None else _proof_of(exchange.certificate)
        return prove(runtime, key, _token_proof(presented.bearer, result), proof)

    def _holder(self, runtime: Runtime, bearer: str, verified: Verified) -> Identity | Denial:
        """The same token stands for the same consumer as long as the Runtime is the same."""
        if runtime is not self._runtime:
            self._forget(runtime)
        known = self._identities.get(id(verified))
        if known is not None and known[0] is verified:
            return known[1]
        identity = prove(runtime, None, _token_proof(bearer, verified), None)
        self._bytes += len(bearer)
        if len(self._identities) >= _REMEMBERED or self._bytes > _MAX_BYTES:
            self._forget(runtime)
        self._identities[id(verified)] = (verified, identity)
        return identity

    def _forget(self, runtime: Runtime) -> None:
        self._identities.clear()
        self._bytes = 0
        self._runtime = runtime

    def _or_failed(self, found: Identity | Denial, exchange: Exchange, presented: Presented) -> Identity | Denial:
        return self._failed(found, exchange, presented) if isinstance(found, Denial) else found

    def _failed(self, denial: Denial, exchange: Exchange, presented: Presented) -> Denial:
        if denial.code in FAILURE_CODES and presented.all:
            self._behaviour.failed(exchange.address, exchange.arrived)
        return self._failures.answer(denial, exchange.address, presented.all, exchange.arrived)


def _denial_of(refusal: Refusal, bearer: str) -> Denial:
    if refusal.reason in _NOT_SIGNED and bearer.count(".") != _DOTS:
        return denials.UNKNOWN_KEY  # more likely a key with a typing error than a token
    if refusal.retry_after:
        return denials.identity_provider_unavailable(refusal.message, refusal.retry_after)
    return denials.invalid_token(refusal.message)


def _proof_of(certificate: ClientCertificate) -> CertificateProof:
    forms = [("subject", certificate.subject), ("fingerprint", certificate.fingerprint)]
    forms += [("uri", uri) for uri in certificate.uris]
    forms += [("dns", name) for name in certificate.dns]
    return CertificateProof(tuple(form for form in forms if form[1]))


def _token_proof(bearer: str, verified: Verified) -> TokenProof:
    claims = dict(verified.claims)
    other = other_spelling(bearer)
    return TokenProof(
        method=Method.JWT if verified.kind is TokenKind.JWT else Method.INTROSPECTION,
        issuer=verified.issuer if verified.kind is TokenKind.JWT else "",
        claims=claims,
        variables=token_variables(verified.issuer, verified.subject, claims),
        accepted=verified.accepted,
        digest=_digest(bearer),
        twin=_digest(other) if other else b"",
    )


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]
