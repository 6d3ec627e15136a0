"""Throughput with signed tokens and three CEL rules beside the path of an API key, on one core.

One contender sends one token over and over, the other a thousand in turn, as many callers do. A token's verification is
remembered for a minute at most (authenticate/tokens.py), so in a round of seconds each is verified once.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bench import worlds
from bench.call import expect_answer
from bench.figures import Goal, report, table
from bench.gateway import Gateway, json_headers, start_gateway, write_snapshot
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS, SMALL
from bench.wrk import Call
from tidegate_dataplane.snapshot.bundle import encode_bundle
from tidegate_operator.compile import compile_world, make_bundle
from tidegate_operator.world import SecretKey

ISSUER = "https://idp.example.com"
AUDIENCE = "gateway"
MANY = 1_000
RULES = [
    {
        "name": "staff",
        "effect": "Allow",
        "roles": ["inference"],
        "when": "token.claims.department in ['research', 'ads']",
    },
    {"name": "nights", "effect": "Deny", "when": "now.getHours('Europe/Berlin') > 24"},
    {"name": "elsewhere", "effect": "Deny", "when": "!request.address.inNetwork('127.0.0.0/8')"},
]


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.tokens", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=float, default=2, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        series = measure(Path(name), rounds=options.rounds, seconds=options.seconds)
    return report(
        "tokens",
        tables=[
            table(
                f"one core, ES256 tokens and three CEL rules, medians of {options.rounds} rounds",
                HEADER,
                [item.row() for item in series],
            )
        ],
        goals=judge(series),
        data={"series": [item.data() for item in series]},
    )


def measure(folder: Path, *, rounds: int, seconds: float) -> list[Series]:
    """Each round has two data planes of its own: one process may be a quarter slower than the next with the same code,
    by where its memory happens to lie."""
    key = ec.generate_private_key(ec.SECP256R1())
    with start_upstream(folder) as upstream:
        size = worlds.Size(*SMALL, endpoint=f"{upstream.url}/v1")
        write_snapshot(folder / "keys.json", size)
        _write_token_world(folder / "tokens.json", size, key)
        taken = [_measure_once(folder, key, seconds) for _ in range(rounds)]
    return [
        Series(parts[0].name, parts[0].connections, tuple(one for part in parts for one in part.rounds))
        for parts in zip(*taken, strict=True)
    ]


def _measure_once(folder: Path, key: ec.EllipticCurvePrivateKey, seconds: float) -> list[Series]:
    """Both run side by side on the gateway's core; one idles while the other is measured."""
    many = [_token(key, number) for number in range(MANY)]
    with (
        start_gateway(folder, folder / "keys.json", name="keys") as keys,
        start_gateway(folder, folder / "tokens.json", name="tokens") as tokens,
    ):
        contenders = [
            Contender("API key", keys.call(folder), keys.process.pid),
            Contender("one token", _call(folder, tokens, many[:1]), tokens.process.pid),
            Contender(f"{MANY:,} tokens", _call(folder, tokens, many), tokens.process.pid),
        ]
        for contender in contenders:
            expect_answer(contender.call)
        return interleave(contenders, connections=CONNECTIONS, rounds=1, seconds=seconds)


def judge(series: Sequence[Series]) -> list[Goal]:
    """The promise on tokens, of (API key, one token, many tokens)."""
    keys, *tokens = series
    shares = [item.rate / keys.rate if keys.rate else 0.0 for item in tokens]
    errors = sum(item.errors for item in series)
    return [
        *(
            Goal(f"{item.name} beside the API key", f"{share:.3f}", ">= 0.75", share >= 0.75)
            for item, share in zip(tokens, shares, strict=True)
        ),
        Goal("errors", str(errors), "0", errors == 0),
    ]


def _write_token_world(path: Path, size: worlds.Size, key: ec.EllipticCurvePrivateKey) -> None:
    namespace = worlds.namespace_of(0)
    world = worlds.world([*map(_with_tokens, worlds.manifests(size))])
    secrets = {SecretKey(namespace, "idp"): {"jwks": _key_set(key)}}
    compiled = compile_world(replace(world, secrets=secrets), worlds.FACTS)
    faults = [verdict for verdict in compiled.verdicts.values() if verdict.errors or verdict.unresolved]
    if faults:
        raise ValueError(f"the world is not valid: {faults[0]}")
    path.write_bytes(encode_bundle(make_bundle(compiled, worlds.FACTS, 1)))


def _with_tokens(manifest: worlds.Manifest) -> worlds.Manifest:
    """The same world, whose callers show tokens instead of keys."""
    spec = dict(manifest["spec"])
    if manifest["kind"] == "AIPolicy":
        provider = {
            "name": "idp",
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "jwksSecretRef": {"name": "idp", "key": "jwks"},
            "claims": {"name": "token.subject", "roles": "token.claims.roles", "team": "token.claims.department"},
        }
        spec["authentication"] = {"methods": ["JWT"], "jwt": [provider]}
        spec["authorization"] = {"rules": RULES}
    return {**manifest, "spec": spec}


def _key_set(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(part.to_bytes(32, "big")).decode().rstrip("=") for part in (numbers.x, numbers.y))
    public = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": x, "y": y}
    return json.dumps({"keys": [public]}).encode()


def _token(key: ec.EllipticCurvePrivateKey, number: int) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": f"caller-{number}",
        "iat": now,
        "exp": now + 3600,
        "roles": ["inference"],
        "department": "research",
    }
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": "bench"})


def _call(folder: Path, gateway: Gateway, tokens: Sequence[str]) -> Call:
    plain = gateway.call(folder)
    if len(tokens) == 1:
        return Call(plain.url, plain.body, json_headers(tokens[0]))
    bearers = folder / "tokens.txt"
    bearers.write_text("".join(f"{token}\n" for token in tokens))
    return Call(plain.url, plain.body, {"content-type": "application/json"}, bearers)


if __name__ == "__main__":
    sys.exit(main())
