"""Taking a token apart: only what every reader reads alike gets through."""

import json

import pytest

from oidc.signing import claims_of, encode, signers
from tidegate_dataplane.authenticate.jose import MAX_TOKEN_BYTES, Token, looks_like_jwt, parse
from tidegate_dataplane.authenticate.refusal import Reason, Refusal

HEADER = '{"alg":"ES256","kid":"k"}'
SIGNATURE = encode(b"0" * 64)


def made(header: str = HEADER, payload: str = '{"iss":"me"}') -> str:
    return f"{encode(header)}.{encode(payload)}.{SIGNATURE}"


def test_a_token_is_taken_apart() -> None:
    token = parse(made())
    assert isinstance(token, Token)
    assert (token.algorithm, token.key_id, token.issuer, token.claims) == ("ES256", "k", "me", {"iss": "me"})
    assert token.signing_input == made().rpartition(".")[0].encode()
    assert token.signature == b"0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        made() + "=",
        made().replace(".", "..", 1),
        made() + "\n",
        " " + made(),
        made().rpartition(".")[0] + ".",
        f"{encode(HEADER)}.é.{SIGNATURE}",
        made(header="[]"),
        made(header="null"),
        made(header="{"),
        made(payload='"text"'),
        made(payload="{} {}"),
        made(payload='{"iss":"me","iss":"you"}'),
        made(payload='{"a":{"b":1,"b":2}}'),
        made(header='{"alg":"ES256","alg":"none"}'),
        made(header='{"kid":"k"}'),
        made(header='{"alg":null}'),
        made(header='{"alg":["ES256"]}'),
        made(header='{"alg":"ES256","kid":7}'),
        made(header=json.dumps({"alg": "ES256", "kid": "k" * 513})),
        made(payload='{"exp":NaN}'),
        made(payload='{"exp":Infinity}'),
        made(payload='{"exp":1e999}'),
        made(payload='{"exp":' + "9" * 30 + "}"),
        made(payload='{"exp":' + "9" * 5000 + "}"),
        made(payload='{"a":' + "[" * 17 + "]" * 17 + "}"),
        made(payload='{"a":' + "[" * 6000 + "}"),
        made(payload='{"sub":"\\ud800"}'),
        made(payload='{"iss":1}'),
        f"{encode(HEADER)}.{encode(b'{}' + bytes([0xFF]))}.{SIGNATURE}",
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.MALFORMED


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    """The last character of an encoding may carry bits that mean nothing."""
    text = made()
    last = "AEIMQUYcgkosw048"  # all spell two zero bits at the end of two bytes
    assert text[-1] in last
    spelled = text[:-1] + chr(ord(text[-1]) + 1)
    assert isinstance(parse(spelled), Refusal)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_tokens_that_are_meant_for_this_are_taken(kind: str) -> None:
    assert isinstance(parse(made(header=json.dumps({"alg": "ES256", "typ": kind}))), Token)


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "", 7, None])
def test_tokens_that_are_meant_for_something_else_are_not(kind: object) -> None:
    found = parse(made(header=json.dumps({"alg": "ES256", "typ": kind})))
    assert isinstance(found, Refusal)
    assert "typ" in found.message


@pytest.mark.parametrize("critical", [["exp"], [], ["b64"], None])
def test_critical_extensions_are_refused(critical: object) -> None:
    found = parse(made(header=json.dumps({"alg": "ES256", "crit": critical, "b64": False})))
    assert isinstance(found, Refusal)
    assert "crit" in found.message


def test_size_is_bounded() -> None:
    long = signers()["ES256"].token(padding="x" * MAX_TOKEN_BYTES)
    found = parse(long)
    assert isinstance(found, Refusal)
    assert "16 KiB" in found.message
    assert not looks_like_jwt(long)


def test_no_message_holds_the_token() -> None:
    secret = signers()["ES256"].sign(json.dumps({"alg": "ES256", "crit": []}), json.dumps(claims_of(sub="secret-sub")))
    found = parse(secret)
    assert isinstance(found, Refusal)
    assert secret[:10] not in found.message
    assert "secret-sub" not in found.message
