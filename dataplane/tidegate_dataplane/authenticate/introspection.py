"""Opaque tokens: the authorization server that issued them is asked (RFC 7662), and its answer kept for a moment.

Whoever is asked learns the token, so only the endpoints of the policies in question are. An endpoint that does not
answer lets nobody in; for a growing moment it is then not asked again, so that callers are told at once.
"""

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from typing import Final
from urllib.parse import quote_plus, urlencode

from msgspec import Struct

from tidegate_dataplane.authenticate import refusal
from tidegate_dataplane.authenticate.fetching import ProviderError, exchange, locate
from tidegate_dataplane.authenticate.json_object import NotAnObject, read_object
from tidegate_dataplane.authenticate.recent import Recent
from tidegate_dataplane.authenticate.refusal import Refusal, to_tell
from tidegate_dataplane.authenticate.verification import check_claims, subject_of
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import TokenKind, TokenProviderEntry
from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.upstream import Origin, UpstreamClient

_log = logging.getLogger(__name__)

ASK_SECONDS: Final = 2.0
MAX_ANSWERS: Final = 16_384
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_INACTIVE: Final = 4_096
MAX_AT_ONCE: Final = 64
MAX_WAITING: Final = 1_024
INACTIVE_SECONDS: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 * 1024
_AWAY_SECONDS: Final = (0.2, 5.0)
_OK: Final = 200

Clock = Callable[[], float]


class Endpoint(Struct, frozen=True):
    """Whom to ask, and as whom. `credential` names the secret; without a `client_id` it is sent as a bearer token."""

    url: str
    client_id: str
    credential: str
    ca_bundle: str


class EndpointState(Struct, frozen=True):
    """How an endpoint fares: how many times it did not answer, and why the last time; "" when it did."""

    name: str
    failures: int
    error: str


class Answer(Struct, frozen=True, gc=False):
    """What an endpoint said, and when (monotonic seconds). `claims` is None for a token that is not active."""

    claims: Mapping[str, object] | None
    at: float


class _Check(Struct, frozen=True, eq=False):
    """Providers that ask alike and want the same: `names` are their keys, `provider` is one of them."""

    endpoint: Endpoint
    provider: TokenProviderEntry
    names: frozenset[str]

    def judge(self, answer: Answer, now: float) -> Verified | Refusal:
        claims = answer.claims
        if claims is None:
            return refusal.INACTIVE
        issuer = self.provider.issuer
        if issuer and claims.get("iss", issuer) != issuer:
            return refusal.ANOTHER_ISSUER
        refused = check_claims(claims, self.provider, now, introspected=True)
        if refused is not None:
            return refused
        subject = subject_of(claims, introspected=True)
        return Verified(TokenKind.INTROSPECTION, issuer, subject, claims, self.names)


class Introspector:
    """Asks all endpoints in use. Belongs to one event loop."""

    def __init__(self, client: UpstreamClient, credentials: Credentials, *, clock: Clock = time.monotonic) -> None:
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._checks: tuple[_Check, ...] = ()
        self._places: dict[str, int] = {}
        self._askers: dict[Endpoint, _Asker] = {}

    def follow(self, providers: Mapping[str, TokenProviderEntry]) -> None:
        """Ask for these from now on, by their keys; what is known of endpoints that stay is kept."""
        grouped: dict[tuple[object, ...], list[str]] = {}
        for name, entry in sorted(providers.items()):
            wants = (entry.issuer, entry.audiences, entry.authorized_parties, entry.clock_skew_ms, entry.cache_ms)
            grouped.setdefault((_endpoint(entry), *wants), []).append(name)
        self._checks = tuple(
            _Check(_endpoint(providers[names[0]]), providers[names[0]], frozenset(names)) for names in grouped.values()
        )
        self._places = {name: place for place, check in enumerate(self._checks) for name in check.names}
        endpoints = {check.endpoint for check in self._checks}
        self._askers = {
            endpoint: self._askers.get(endpoint) or _Asker(endpoint, self._client, self._credentials, self._clock)
            for endpoint in endpoints
        }

    def asks(self, among: Collection[str] | None) -> bool:
        """Whether any of these providers (None: any at all) asks a server."""
        return bool(self._among(among))

    @property
    def states(self) -> list[EndpointState]:
        """How the endpoints fare. May be read from another thread."""
        return [EndpointState(each.endpoint.url, each.failures, each.error) for each in list(self._askers.values())]

    def cached(self, digest: bytes, now: float, among: Collection[str] | None) -> Verified | Refusal | None:
        """What is known without asking; None when somebody must be asked."""
        found: list[Verified | Refusal] = []
        for check in self._among(among):
            answer = self._askers[check.endpoint].known(digest, check.provider.cache_ms / 1000)
            if answer is None:
                return None
            found.append(check.judge(answer, now))
        return _best(found)

    async def ask(
        self, token: str, digest: bytes, now: float, among: Collection[str] | None = None
    ) -> Verified | Refusal:
        """Ask the endpoints of the providers in `among` (None: all), each once, and take the first that is content."""
        checks = self._among(among)
        askers = self._askers
        endpoints = tuple(dict.fromkeys(check.endpoint for check in checks))
        shortest = {
            endpoint: min(check.provider.cache_ms for check in checks if check.endpoint == endpoint) / 1000
            for endpoint in endpoints
        }
        asked = await asyncio.gather(
            *(askers[endpoint].ask(token, digest, shortest[endpoint]) for endpoint in endpoints)
        )
        answers = dict(zip(endpoints, asked, strict=True))
        found: list[Verified | Refusal] = []
        for check in checks:
            answer = answers[check.endpoint]
            found.append(answer if isinstance(answer, Refusal) else check.judge(answer, now))
        return _best(found) or refusal.WRONG_ISSUER

    def _among(self, among: Collection[str] | None) -> tuple[_Check, ...]:
        if among is None:
            return self._checks
        places = {self._places[name] for name in among if name in self._places}
        return tuple(self._checks[place] for place in sorted(places))


class _Asker:
    """Asks one endpoint: one question at a time for each token, few at once, none while it is away."""

    def __init__(self, endpoint: Endpoint, client: UpstreamClient, credentials: Credentials, clock: Clock) -> None:
        self.endpoint = endpoint
        self.error = ""
        self.failures = 0
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._answers: Recent[Answer] = Recent(MAX_ANSWERS, weight=MAX_BYTES)
        # Tokens that are not active come from strangers: they must not push out those that are.
        self._inactive: Recent[Answer] = Recent(MAX_INACTIVE, weight=MAX_INACTIVE)
        self._flights: dict[bytes, asyncio.Task[Answer | Refusal]] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._backoff = Backoff(*_AWAY_SECONDS)
        self._away_until = 0.0
        self._place: tuple[Origin, bytes] | None = None

    def known(self, digest: bytes, seconds: float) -> Answer | None:
        """The last answer about this token, if it is not older than `seconds`."""
        answer = self._answers.get(digest)
        if answer is None:
            answer, seconds = self._inactive.get(digest), min(seconds, INACTIVE_SECONDS)
        return None if answer is None or self._clock() - answer.at >= seconds else answer

    async def ask(self, token: str, digest: bytes, seconds: float) -> Answer | Refusal:
        known = self.known(digest, seconds)
        if known is not None:
            return known
        flight = self._flights.get(digest)
        if flight is None:
            away = self._away_until - self._clock()
            if away > 0:
                return refusal.unavailable(away)
            if len(self._flights) >= MAX_WAITING:
                return refusal.unavailable(ASK_SECONDS)
            flight = asyncio.get_running_loop().create_task(self._fly(token, digest))
            self._flights[digest] = flight
            flight.add_done_callback(lambda _: self._flights.pop(digest, None))
        # A caller that goes away does not take the answer from the others; the flight is bounded in time.
        return await asyncio.shield(flight)

    async def _fly(self, token: str, digest: bytes) -> Answer | Refusal:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                async with self._slots:
                    claims, size = await self._question(token)
        except (ProviderError, TimeoutError) as error:
            return self._failed(str(error) or f"no answer within {ASK_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - whatever the defect, nobody comes in by it; the log gets the cause
            _log.exception("asking %s about a token failed", self.endpoint.url)
            return self._failed(f"failed with {type(error).__name__}, see the log")
        self.error = ""
        self._backoff.reset()
        self._away_until = 0.0
        answer = Answer(claims, self._clock())
        if claims is None:
            self._answers.drop(digest)
            self._inactive.put(digest, answer, 1)
        else:
            self._answers.put(digest, answer, size)
        return answer

    async def _question(self, token: str) -> tuple[Mapping[str, object] | None, int]:
        """The answer about an active token, None for any other; and its size in bytes. Raises ProviderError."""
        if self._place is None:
            self._place = await locate(self.endpoint.url, self.endpoint.ca_bundle)
        origin, target = self._place
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii")
        status, text = await exchange(
            self._client, origin, b"POST", target, self._headers(), body, limit=_MAX_ANSWER_BYTES
        )
        if status in (401, 403):
            raise ProviderError(f"answered {status}: it refuses the client id or secret of the gateway")
        if status != _OK:
            raise ProviderError(f"answered {status}")
        try:
            answer = read_object(text)
        except NotAnObject as error:
            raise ProviderError(f"answered what is {error}") from None
        active = answer.get("active")
        if not isinstance(active, bool):
            raise ProviderError("answered without `active`, which RFC 7662 wants")
        return (answer if active else None), len(text)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        endpoint = self.endpoint
        headers = [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"accept", b"application/json"),
            (b"user-agent", b"tidegate"),
        ]
        if not endpoint.credential:
            return headers
        secret = self._credentials.get(endpoint.credential)
        if secret is None:
            raise ProviderError("the gateway's client secret is missing in the credentials")
        if not endpoint.client_id:
            return [*headers, (b"authorization", b"Bearer " + secret)]
        # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(endpoint.client_id)}:{quote_plus(secret.decode('ascii'))}"
        return [*headers, (b"authorization", b"Basic " + b64encode(pair.encode("ascii")))]

    def _failed(self, error: str) -> Refusal:
        self.failures += 1
        if error != self.error:
            _log.warning("%s cannot be asked about tokens: %s", self.endpoint.url, error)
        self.error = error
        now = self._clock()
        if now >= self._away_until:
            # Those that were under way together count as one failure.
            self._away_until = now + self._backoff.wait()
        return refusal.unavailable(self._away_until - now)


def _endpoint(entry: TokenProviderEntry) -> Endpoint:
    return Endpoint(entry.endpoint, entry.client_id, entry.credential, entry.ca_bundle)


def _best(found: list[Verified | Refusal]) -> Verified | Refusal | None:
    """The first that holds, accepted by all that say the same of it; else what to tell the caller."""
    held = [each for each in found if isinstance(each, Verified)]
    if held:
        first = held[0]
        same = [each for each in held if each.claims is first.claims and each.issuer == first.issuer]
        if len(same) == 1:
            return first
        accepted = frozenset().union(*(each.accepted for each in same))
        return Verified(first.kind, first.issuer, first.subject, first.claims, accepted)
    refusals = [each for each in found if isinstance(each, Refusal)]
    return to_tell(refusals) if refusals else None
