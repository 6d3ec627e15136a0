"""Everything that may be wrong with a credential, by method: what a caller shows, and what is done first."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from matrix.world import KEY, OPAQUE, OTHER_ISSUER, PARTY, Shown, World, active, key_entry
from oidc.signing import ALGORITHMS, ISSUER, SUBJECT, Signer, claims_of, encode, hmac_signed, signers
from pki.authority import Authority
from tidegate_dataplane.snapshot.entries import Method

INVALID_KEY = "invalid_api_key"
INVALID_TOKEN = "invalid_token"
UNKNOWN = "unknown_consumer"
AWAY = "identity_provider_unavailable"
BAD_CERTIFICATE = "invalid_client_certificate"
HANDSHAKE = "handshake"
"""Instead of a code: the connection does not come about."""

NOTHING = INVALID_KEY
"""A certificate that no consumer names proves nothing, so it is as if none had been shown."""

Change = Callable[[World], Awaitable[None]]

# Cases are made when the tests are collected; what is not valid yet must still not be when the last of them runs.
LATER = 86_400


@dataclass(frozen=True)
class Case:
    """`show` makes what the caller presents on the route of `method`; None is the code of a call that is let in.

    With `change`, the same credential was let in before, and then that was done.
    """

    name: str
    method: Method
    code: str | None
    show: Callable[[World], Shown]
    change: Change | None = None

    def __str__(self) -> str:
        return f"{self.method}-{self.name}"


def all_cases() -> list[Case]:
    return [*_jwt(), *_introspection(), *_keys(), *_certificates(), *_elsewhere()]


# Signed tokens, for each algorithm.


def _jwt() -> Iterator[Case]:
    for algorithm in ALGORITHMS:
        yield from _valid_and_outdated(algorithm)
        yield from _wrong_claims(algorithm)
        yield from _wrong_signatures(algorithm)
        yield from _tampered(algorithm)
        yield from _other_algorithms(algorithm)
        yield from _bad_headers(algorithm)
        yield from _taken_back(algorithm)


def _token(
    algorithm: str,
    name: str,
    code: str | None = INVALID_TOKEN,
    header: dict[str, Any] | None = None,
    change: Change | None = None,
    **claims: Any,
) -> Case:
    """A token that its issuer signed."""

    def show(world: World) -> Shown:
        return Shown(signers()[algorithm].token(header=header, **{"azp": PARTY, **claims}))

    return Case(f"{algorithm}-{name}", Method.JWT, code, show, change)


def _text(algorithm: str, name: str, make: Callable[[World, Signer], str], code: str = INVALID_TOKEN) -> Case:
    """A text that the issuer did not sign as it is."""

    def show(world: World) -> Shown:
        return Shown(make(world, signers()[algorithm]))

    return Case(f"{algorithm}-{name}", Method.JWT, code, show)


def _valid_and_outdated(algorithm: str) -> Iterator[Case]:
    now = int(time.time())
    yield _token(algorithm, "valid", None)
    yield _token(algorithm, "valid-access-token", None, header={"typ": "at+jwt"})
    yield _token(algorithm, "valid-without-kid", None, header={"kid": None})
    yield _token(algorithm, "valid-for-several", None, aud=["other", "tidegate"])
    yield _token(algorithm, "expired", exp=now - 60)
    yield _token(algorithm, "expired-long-ago", exp=1)
    yield _token(algorithm, "not-yet-valid", nbf=now + LATER)
    yield _token(algorithm, "issued-in-the-future", iat=now + LATER)
    yield _token(algorithm, "never-expires", exp=None)
    yield _token(algorithm, "expires-as-text", exp=str(now + 600))
    yield _token(algorithm, "expires-in-another-age", exp=10**15)
    yield _token(algorithm, "expires-true", exp=True)


def _wrong_claims(algorithm: str) -> Iterator[Case]:
    yield _token(algorithm, "wrong-audience", aud="other")
    yield _token(algorithm, "wrong-audiences", aud=["other", "tidegate2"])
    yield _token(algorithm, "no-audience", aud=None)
    yield _token(algorithm, "audience-as-object", aud={"tidegate": True})
    yield _token(algorithm, "wrong-issuer", iss="https://nobody.example.com")
    yield _token(algorithm, "issuer-with-a-slash", iss=ISSUER + "/")
    yield _token(algorithm, "no-issuer", iss=None)
    yield _token(algorithm, "wrong-party", azp="other")
    yield _token(algorithm, "no-party", azp=None)
    yield _token(algorithm, "no-subject", sub=None)
    yield _token(algorithm, "subject-as-list", sub=[SUBJECT])
    yield _token(algorithm, "unknown-subject", UNKNOWN, sub="nobody")


def _wrong_signatures(algorithm: str) -> Iterator[Case]:
    def forged(world: World, signer: Signer) -> str:
        return Signer(algorithm, signer.key_id, Signer.create(algorithm).key).token(azp=PARTY)

    def of_another_source(world: World, signer: Signer) -> str:
        return world.other.token(azp=PARTY)

    def for_another_source(world: World, signer: Signer) -> str:
        return signer.token(iss=OTHER_ISSUER, azp=PARTY)

    def named_otherwise(world: World, signer: Signer) -> str:
        return signer.token(header={"kid": world.other.key_id}, azp=PARTY)

    def of_another_key(world: World, signer: Signer) -> str:
        neighbour = next(each for each in signers().values() if each.algorithm != signer.algorithm)
        return signer.token(header={"kid": neighbour.key_id}, azp=PARTY)

    yield _text(algorithm, "wrong-key", forged)
    yield _text(algorithm, "unknown-key", lambda world, signer: world.stranger.token(azp=PARTY))
    yield _text(algorithm, "key-of-another-source", of_another_source)
    yield _text(algorithm, "key-not-of-that-issuer", for_another_source)
    yield _text(algorithm, "kid-of-another-source", named_otherwise)
    yield _text(algorithm, "kid-of-another-key", of_another_key)


def _tampered(algorithm: str) -> Iterator[Case]:
    def parts(signer: Signer) -> list[str]:
        return signer.token(azp=PARTY, sub="nobody").split(".")

    def payload(world: World, signer: Signer) -> str:
        header, _, signature = parts(signer)
        return f"{header}.{encode(claims_of(azp=PARTY))}.{signature}"

    def header(world: World, signer: Signer) -> str:
        _, claims, signature = signer.token(azp=PARTY).split(".")
        return f"{encode({**signer.header(), 'more': 1})}.{claims}.{signature}"

    def signature(world: World, signer: Signer) -> str:
        head, claims, signed = signer.token(azp=PARTY).split(".")
        return f"{head}.{claims}.{('B' if signed[0] == 'A' else 'A') + signed[1:]}"

    def cut_off(world: World, signer: Signer) -> str:
        signed = f"{encode(signer.header())}.{encode(claims_of(azp=PARTY))}"
        return f"{signed}.{encode(signer.signature(signed.encode())[:-8])}"

    def zeros(world: World, signer: Signer) -> str:
        head, claims, signed = signer.token(azp=PARTY).split(".")
        return f"{head}.{claims}.{encode(bytes(len(signed) * 3 // 4))}"

    yield _text(algorithm, "tampered-payload", payload)
    yield _text(algorithm, "tampered-header", header)
    yield _text(algorithm, "tampered-signature", signature)
    yield _text(algorithm, "signature-of-zeros", zeros)
    yield _text(algorithm, "no-signature", lambda world, signer: signer.token().rpartition(".")[0] + ".")
    yield _text(algorithm, "two-parts", lambda world, signer: signer.token().rpartition(".")[0], INVALID_KEY)
    yield _text(algorithm, "four-parts", lambda world, signer: signer.token() + ".AAAA", INVALID_KEY)
    yield _text(algorithm, "padded", lambda world, signer: signer.token(azp=PARTY) + "=")
    yield _text(algorithm, "cut-off", cut_off)
    yield _text(algorithm, "flattened", lambda world, signer: "{}", INVALID_KEY)


def _other_algorithms(algorithm: str) -> Iterator[Case]:
    for name in ("none", "None", "NONE", "nOnE", "nonE", ""):
        unsigned = f"alg-{name or 'empty'}"

        def kept(world: World, signer: Signer, name: str = name) -> str:
            return f"{encode(signer.header(alg=name))}.{encode(claims_of(azp=PARTY))}.{encode(b'x')}"

        def without(world: World, signer: Signer, name: str = name) -> str:
            return f"{encode(signer.header(alg=name))}.{encode(claims_of(azp=PARTY))}."

        yield _text(algorithm, f"{unsigned}-with-a-signature", kept)
        yield _text(algorithm, f"{unsigned}-without", without)
    secrets: dict[str, Callable[[Signer], bytes]] = {
        "pem": lambda signer: signer.pem,
        "pem-stripped": lambda signer: signer.pem.strip(),
        "jwk": lambda signer: json.dumps(signer.jwk).encode(),
        "number": lambda signer: str(signer.jwk.get("n", signer.jwk.get("x"))).encode(),
        "nothing": lambda signer: b"",
    }
    for name, secret in secrets.items():
        for hmac in ("HS256", "HS512"):

            def confused(
                world: World, signer: Signer, hmac: str = hmac, secret: Callable[[Signer], bytes] = secret
            ) -> str:
                return hmac_signed(signer.header(alg=hmac), claims_of(azp=PARTY), secret(signer))

            yield _text(algorithm, f"{hmac}-with-{name}", confused)

    async def disallow(world: World) -> None:
        await world.reload(algorithms=tuple(name for name in ALGORITHMS if name != algorithm))

    yield _token(algorithm, "no-longer-allowed", change=disallow)


def _bad_headers(algorithm: str) -> Iterator[Case]:
    def bringing(name: str) -> Callable[[World, Signer], str]:
        """A token of a stranger that brings the stranger's key."""

        def make(world: World, signer: Signer) -> str:
            stranger = world.stranger
            brought: dict[str, Any] = {
                "jwk": stranger.jwk,
                "jku": f"{world.endpoint}/keys",
                "x5u": f"{world.endpoint}/chain",
                "x5c": [b64encode(stranger.pem).decode()],
            }
            return stranger.token(header={"kid": signer.key_id, name: brought[name]}, azp=PARTY)

        return make

    for name in ("jwk", "jku", "x5u", "x5c"):
        yield _text(algorithm, f"brings-{name}", bringing(name))

    def twice(header: str, payload: str) -> Callable[[World, Signer], str]:
        return lambda world, signer: signer.sign(
            json.dumps(signer.header())[:-1] + header + "}", json.dumps(claims_of(azp=PARTY))[:-1] + payload + "}"
        )

    yield _text(algorithm, "two-subjects", twice("", f', "sub": "{SUBJECT}"'))
    yield _text(algorithm, "two-expiries", twice("", ', "exp": 9999999999'))
    yield _text(algorithm, "two-algorithms", twice(f', "alg": "{algorithm}"', ""))
    yield _text(algorithm, "not-a-number", twice("", ', "nan": NaN'))
    yield _token(algorithm, "critical", header={"crit": ["exp"]})
    yield _token(algorithm, "logout-token", header={"typ": "logout+jwt"})
    yield _token(algorithm, "proof-of-possession", header={"typ": "dpop+jwt"})


def _taken_back(algorithm: str) -> Iterator[Case]:
    async def take_the_key(world: World) -> None:
        await world.reload(signing=tuple(each for name, each in signers().items() if name != algorithm))

    async def take_all_keys(world: World) -> None:
        await world.reload(signing=(Signer.create("ES256", "new"),))

    async def other_audience(world: World) -> None:
        await world.reload(audiences=("other",))

    async def other_issuer(world: World) -> None:
        await world.reload(issuer="https://new.example.com")

    async def other_subject(world: World) -> None:
        await world.reload(subject="somebody-else")

    async def suspend(world: World) -> None:
        await world.reload(suspended=True)

    yield _token(algorithm, "replayed-after-its-key", change=take_the_key)
    yield _token(algorithm, "replayed-after-all-keys", change=take_all_keys)
    yield _token(algorithm, "replayed-after-its-audience", change=other_audience)
    yield _token(algorithm, "replayed-after-its-issuer", change=other_issuer)
    yield _token(algorithm, "replayed-after-its-consumer", UNKNOWN, change=other_subject)
    yield _token(algorithm, "replayed-after-suspension", "consumer_suspended", change=suspend)


# Opaque tokens.


def _opaque(name: str, code: str | None, says: Any, change: Change | None = None) -> Case:
    def show(world: World) -> Shown:
        world.answers["token-in-question"] = says
        return Shown("token-in-question")

    return Case(name, Method.INTROSPECTION, code, show, change)


def _introspection() -> Iterator[Case]:
    now = int(time.time())

    async def revoke(world: World) -> None:
        world.answers["token-in-question"] = {"active": False}

    async def go_away(world: World) -> None:
        async def closed(asked: Any, writer: Any) -> None:
            writer.close()

        world.introspect = closed

    async def suspend(world: World) -> None:
        await world.reload(suspended=True)

    yield _opaque("valid", None, active())
    yield _opaque("valid-for-several", None, active(aud=["other", "tidegate"]))
    yield _opaque("inactive", INVALID_TOKEN, {"active": False})
    yield _opaque("inactive-with-claims", INVALID_TOKEN, active(active=False))
    yield _opaque("expired", INVALID_TOKEN, active(exp=now - 60))
    yield _opaque("not-yet-valid", INVALID_TOKEN, active(nbf=now + LATER))
    yield _opaque("issued-in-the-future", INVALID_TOKEN, active(iat=now + LATER))
    yield _opaque("wrong-audience", INVALID_TOKEN, active(aud="other"))
    yield _opaque("no-audience", INVALID_TOKEN, active(aud=None))
    yield _opaque("wrong-issuer", INVALID_TOKEN, active(iss="https://evil.example.com"))
    yield _opaque("wrong-party", INVALID_TOKEN, active(client_id="other"))
    yield _opaque("no-subject", UNKNOWN, active(sub=None))
    yield _opaque("unknown-subject", UNKNOWN, active(sub="nobody"))
    yield _opaque("active-as-text", AWAY, active(active="true"))
    yield _opaque("active-as-number", AWAY, active(active=1))
    yield _opaque("no-word-of-active", AWAY, active(active=None))
    yield _opaque("two-answers-in-one", AWAY, b'{"active":false,"active":true,"sub":"app-42","aud":"tidegate"}')
    yield _opaque("no-json", AWAY, b"active")
    yield _opaque("replayed-after-revocation", INVALID_TOKEN, active(), revoke)
    yield _opaque("replayed-while-the-server-is-away", AWAY, active(), go_away)
    yield _opaque("replayed-after-suspension", "consumer_suspended", active(), suspend)
    for name, text in {"changed": OPAQUE[:-1] + "B", "cut-off": OPAQUE[:-1], "longer": OPAQUE + "A"}.items():
        yield Case(f"tampered-{name}", Method.INTROSPECTION, INVALID_TOKEN, lambda world, text=text: Shown(text))  # type: ignore[misc]
    for none in ("none", "NONE"):

        def unsigned(world: World, none: str = none) -> Shown:
            return Shown(f"{encode({'alg': none})}.{encode(claims_of(iss='https://as.example.com'))}.")

        yield Case(f"alg-{none}", Method.INTROSPECTION, INVALID_TOKEN, unsigned)


# API keys.


def _key(name: str, code: str | None, shown: Shown, change: Change | None = None) -> Case:
    return Case(name, Method.API_KEY, code, lambda world: shown, change)


def _keys() -> Iterator[Case]:
    now = int(time.time())

    def entries(**changes: Any) -> Change:
        return lambda world: world.reload(keys=(key_entry(**changes),))

    async def suspend(world: World) -> None:
        await world.reload(suspended=True)

    yield _key("valid", None, Shown(KEY))
    yield _key("valid-in-another-header", None, Shown(headers=(f"x-api-key: {KEY}",)))
    yield _key("nothing", INVALID_KEY, Shown())
    yield _key("unknown", INVALID_KEY, Shown("sk-nobody-has-this-key-0123456789"))
    yield _key("first-character", INVALID_KEY, Shown("x" + KEY[1:]))
    yield _key("last-character", INVALID_KEY, Shown(KEY[:-1] + "x"))
    yield _key("cut-off", INVALID_KEY, Shown(KEY[:-1]))
    yield _key("longer", INVALID_KEY, Shown(KEY + "0"))
    yield _key("twice", INVALID_KEY, Shown(KEY + KEY))
    yield _key("upper-case", INVALID_KEY, Shown(KEY.upper()))
    yield _key("its-hash", INVALID_KEY, Shown(key_entry().sha256))
    yield _key("another-scheme", INVALID_KEY, Shown(headers=(f"authorization: Token {KEY}",)))
    yield _key("two-different", INVALID_KEY, Shown(KEY, headers=("x-api-key: sk-another",)))
    yield _key("replayed-after-revocation", INVALID_KEY, Shown(KEY), entries(revoked=True))
    yield _key("replayed-after-removal", INVALID_KEY, Shown(KEY), lambda world: world.reload(keys=()))
    yield _key("replayed-after-rotation", INVALID_KEY, Shown(KEY), entries(key="sk-the-next"))
    yield _key("expired", INVALID_KEY, Shown(KEY), entries(not_after=now - 1))
    yield _key("not-yet-valid", INVALID_KEY, Shown(KEY), entries(not_before=now + LATER))
    yield _key("replayed-after-suspension", "consumer_suspended", Shown(KEY), suspend)


# Client certificates.


def _certificate(name: str, code: str | None, show: Callable[[World], Shown], change: Change | None = None) -> Case:
    return Case(name, Method.MTLS, code, show, change)


def _certificates() -> Iterator[Case]:
    def issued(common_name: str = "search", **more: Any) -> Callable[[World], Shown]:
        return lambda world: Shown(certificate=world.site.callers.issue_client(common_name, **more))

    def of_a_stranger(world: World) -> Shown:
        return Shown(certificate=Authority.create("Test Callers").issue_client("search"))

    def of_a_server(world: World) -> Shown:
        return Shown(certificate=world.site.callers.issue("search", ["127.0.0.1"]))

    def forwarded(world: World) -> Shown:
        return Shown(headers=("x-forwarded-client-cert: Subject=CN=search;URI=spiffe://example.org/search",))

    kept: dict[int, Shown] = {}

    def remembered(world: World) -> Shown:
        return kept.setdefault(id(world), issued()(world))

    async def revoke(world: World) -> None:
        certificate = kept[id(world)].certificate
        assert certificate is not None
        world.site.revoke(certificate)

    async def rename(world: World) -> None:
        await world.reload(common_name="somebody-else")

    async def suspend(world: World) -> None:
        await world.reload(suspended=True)

    yield _certificate("valid", None, issued())
    yield _certificate("nothing", NOTHING, lambda world: Shown())
    yield _certificate("expired", HANDSHAKE, issued(lifetime=timedelta(seconds=-60)))
    yield _certificate("wrong-authority-of-the-same-name", HANDSHAKE, of_a_stranger)
    yield _certificate("meant-for-a-server", HANDSHAKE, of_a_server)
    yield _certificate("wrong-subject", NOTHING, issued("nobody"))
    yield _certificate("subject-in-part", NOTHING, issued("search2"))
    yield _certificate("subject-with-more", NOTHING, issued("search,O=more"))
    yield _certificate("header-of-no-proxy", NOTHING, forwarded)
    yield _certificate("replayed-after-revocation", BAD_CERTIFICATE, remembered, revoke)
    yield _certificate("replayed-after-its-consumer", NOTHING, remembered, rename)
    yield _certificate("replayed-after-suspension", "consumer_suspended", remembered, suspend)


# Good credentials where another kind is wanted.


def _elsewhere() -> Iterator[Case]:
    methods = (Method.API_KEY, Method.JWT, Method.INTROSPECTION, Method.MTLS)
    for wanted in methods:
        for given in methods:
            if given is not wanted:
                # An opaque token is shown only to the servers of the route, so elsewhere it is nothing.
                code = INVALID_KEY if given is Method.INTROSPECTION else "method_not_accepted"
                yield Case(f"good-{given}", wanted, code, lambda world, given=given: world.good(given))  # type: ignore[misc]
