"""A gateway with every way of authentication, over TLS, and callers with good credentials of each kind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from dataplane.factory import bundle_of, policy, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, request
from dataplane.secured import Site, Wire
from dataplane.upstream import Asked, answer, upstream
from oidc.signing import AUDIENCE, ISSUER, SUBJECT, Signer, key_set, signers
from pki.authority import Issued
from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.reload import Outcome
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    CertificateMatchEntry,
    ConsumerEntry,
    KeyEntry,
    Method,
    PolicyEntry,
    Shard,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenMatchEntry,
    TokenProviderEntry,
)

KEY = "sk-the-good-key-of-search-0123456789"
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"
OTHER_ISSUER = "https://other-idp.example.com"
PARTY = "app"

MODELS = {
    Method.API_KEY: "by-key",
    Method.JWT: "by-jwt",
    Method.INTROSPECTION: "by-introspection",
    Method.MTLS: "by-certificate",
}


@dataclass(frozen=True)
class Shown:
    """What a caller presents."""

    bearer: str | None = None
    headers: tuple[str, ...] = ()
    certificate: Issued | None = None


@dataclass
class Configuration:
    """What the snapshot says; a test changes it and has it loaded."""

    keys: tuple[KeyEntry, ...]
    signing: tuple[Signer, ...] = field(default_factory=lambda: tuple(signers().values()))
    algorithms: tuple[str, ...] = ()
    audiences: tuple[str, ...] = (AUDIENCE,)
    issuer: str = ISSUER
    subject: str = SUBJECT
    common_name: str = "search"
    suspended: bool = False


@dataclass
class World:
    """`answers` is what the authorization server says of each token; of any other that it is not active."""

    plane: DataPlane
    site: Site
    configuration: Configuration
    endpoint: str
    answers: dict[str, Any]
    stranger: Signer
    other: Signer
    introspect: Callable[[Asked, asyncio.StreamWriter], Awaitable[None]] | None = None
    revision: int = 0

    async def ask(self, method: Method, shown: Shown) -> RawAnswer:
        """A chat on the route that accepts `method`."""
        wire = await Wire.open(self.plane.address, self.site.client(shown.certificate))
        try:
            return await wire.ask(request(chat(model=MODELS[method]), key=shown.bearer, headers=shown.headers))
        finally:
            await wire.close()

    def good(self, method: Method) -> Shown:
        """A credential that holds."""
        match method:
            case Method.API_KEY:
                return Shown(KEY)
            case Method.JWT:
                return Shown(signers()["ES256"].token(azp=PARTY))
            case Method.INTROSPECTION:
                self.answers.setdefault(OPAQUE, active())
                return Shown(OPAQUE)
            case _:
                return Shown(certificate=self.site.callers.issue_client("search"))

    async def reload(self, **changes: Any) -> None:
        """Serve a changed configuration."""
        for name, value in changes.items():
            setattr(self.configuration, name, value)
        self.revision += 1
        bundle = bundle_of(self._shard(), revision=self.revision)
        assert await self.plane.reloader.offer(bundle) is Outcome.LOADED, self.plane.reloader.last_refusal

    def _shard(self) -> Shard:
        says = self.configuration
        provider = TokenProviderEntry(
            name="idp",
            kind=TokenKind.JWT,
            issuer=says.issuer,
            audiences=says.audiences,
            jwks=key_set(*says.signing),
            algorithms=says.algorithms,
            authorized_parties=(PARTY,),
        )
        other = TokenProviderEntry(
            name="other", kind=TokenKind.JWT, issuer=OTHER_ISSUER, audiences=(AUDIENCE,), jwks=key_set(self.other)
        )
        server = TokenProviderEntry(
            name="server",
            kind=TokenKind.INTROSPECTION,
            issuer="https://as.example.com",
            endpoint=self.endpoint,
            client_id="gateway",
            credential="client-secret",
            audiences=(AUDIENCE,),
            authorized_parties=(PARTY,),
            cache_ms=1,
        )
        return shard(
            routes=[route(name, models=(name,), policies=(name,)) for name in MODELS.values()],
            policies=[
                policy(MODELS[Method.API_KEY], methods=(Method.API_KEY,)),
                _policy(Method.JWT, provider, other),
                _policy(Method.INTROSPECTION, server),
                policy(MODELS[Method.MTLS], methods=(Method.MTLS,)),
            ],
            consumers=[
                ConsumerEntry(
                    source=source("search"),
                    suspended=says.suspended,
                    keys=says.keys,
                    tokens=(
                        TokenMatchEntry(name="signed", issuer=ISSUER, match={"sub": says.subject}),
                        TokenMatchEntry(name="opaque", match={"sub": says.subject}),
                    ),
                    certificates=(CertificateMatchEntry(name="certificate", subject=f"CN={says.common_name}"),),
                )
            ],
        )


def _policy(method: Method, *providers: TokenProviderEntry) -> PolicyEntry:
    return PolicyEntry(
        source=source(MODELS[method]),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        authentication=AuthenticationEntry(methods=(method,), providers=providers),
    )


def key_entry(key: str = KEY, **changes: Any) -> KeyEntry:
    return KeyEntry(**{"name": "main", "sha256": hashlib.sha256(key.encode()).hexdigest(), **changes})


def active(**changes: Any) -> dict[str, Any]:
    """An answer of RFC 7662 about a good token; None takes a member away."""
    usual = {"active": True, "sub": SUBJECT, "aud": AUDIENCE, "client_id": PARTY, "exp": int(time.time()) + 600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


@asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    """Everything in order; a certificate is checked against a revocation list that is empty."""
    answers: dict[str, Any] = {}
    made: list[World] = []

    async def introspect(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if made and made[0].introspect is not None:
            await made[0].introspect(asked, writer)
            return
        token = parse_qs(asked.body.decode())["token"][0]
        await answer(answers.get(token, {"active": False}))(asked, writer)

    site = Site(directory)
    site.revoke()
    tls = site.settings(client_ca=site.client_ca, client_crls=(site.crl,))
    unlimited = Rate.parse("100000/1s")
    async with (
        upstream(introspect) as server,
        running(
            tls=tls,
            credentials={"client-secret": b"secret-of-the-gateway"},
            failures_per_address=unlimited,
            failures_per_prefix=unlimited,
        ) as plane,
    ):
        made.append(
            World(
                plane=plane,
                site=site,
                configuration=Configuration(keys=(key_entry(),)),
                endpoint=f"http://127.0.0.1:{server.port}/introspect",
                answers=answers,
                stranger=_stranger(),
                other=_other(),
            )
        )
        await made[0].reload()
        yield made[0]


def _stranger() -> Signer:
    return Signer.create("ES256", "stranger")


def _other() -> Signer:
    return Signer.create("ES256", "other-source")


def shown_in(answer: RawAnswer, shown: Shown) -> bool:
    """Whether an answer repeats what must stay secret."""
    text = json.dumps(answer.headers) + answer.text
    return bool(shown.bearer) and str(shown.bearer) in text
