"""What verifying a token costs, by algorithm, and what finding it in the cache costs. In one process, without HTTP.

    PYTHONPATH=tests .venv/bin/python -m bench.verification [--calls 2000] [--rounds 5]

`anew` is everything: taking the token apart, the signature, the claims, and which providers accept it. `signature` is
the part of it that is cryptography. `known` is the look-up of a token that was verified less than a minute ago.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

from bench.figures import report, table
from oidc.signing import ALGORITHMS, jwt_provider, key_set, signers
from tidegate_dataplane.authenticate.jose import Token, parse
from tidegate_dataplane.authenticate.keys import parse_key_set
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.upstream import UpstreamClient


def microseconds(call: Callable[[], object], *, calls: int, rounds: int) -> float:
    """The median over `rounds` of the mean of `calls`."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - started) / calls * 1e6)
    return statistics.median(found)


async def measure(algorithm: str, *, calls: int, rounds: int) -> dict[str, float]:
    """Microseconds of each step for one algorithm."""
    keys = key_set(*signers().values())
    text, now = signers()[algorithm].token(), time.time()
    client = UpstreamClient()
    tokens = Tokens(client, Credentials())
    tokens.follow({"team-a/chat/idp": jwt_provider(jwks=keys)})
    token = parse(text)
    if not isinstance(token, Token) or not isinstance(await tokens.verify(text, now), Verified):
        raise RuntimeError(f"a good {algorithm} token is refused")
    (key,) = parse_key_set(keys.encode()).candidates(token.key_id, algorithm)
    verify = key.verifiers[algorithm]
    anew = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(calls):
            tokens.forget()
            await tokens.verify(text, now)
        anew.append((time.perf_counter() - started) / calls * 1e6)
    found = {
        "anew": statistics.median(anew),
        "signature": microseconds(lambda: verify(token.signing_input, token.signature), calls=calls, rounds=rounds),
        "known": microseconds(lambda: tokens.cached(text, now), calls=calls * 10, rounds=rounds),
    }
    await tokens.aclose()
    await client.aclose()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2_000, help="in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (%(default)s)")
    options = parser.parse_args()
    measured = {
        algorithm: asyncio.run(measure(algorithm, calls=options.calls, rounds=options.rounds))
        for algorithm in ALGORITHMS
    }
    rows = [
        (algorithm, *(f"{found[step]:.1f}" for step in ("anew", "signature", "known")))
        for algorithm, found in measured.items()
    ]
    text = table("microseconds a token", ("algorithm", "anew", "signature", "known"), rows)
    return report("verification", tables=[text], goals=[], data={"microseconds": measured})


if __name__ == "__main__":
    raise SystemExit(main())
