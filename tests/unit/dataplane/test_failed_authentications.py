"""What callers with bad credentials are told: always the same, and after a while to wait."""

import hashlib
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from dataplane.factory import KEY, OTHER_KEY, bundle_of, consumer, shard
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, admin, chat, exchange, request
from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry

REVOKED, EXPIRED, EARLY = "sk-test-revoked-000000", "sk-test-expired-000000", "sk-test-early-00000000"
LONG = Rate(1, 3600.0)
MANY = Rate(1000, 1.0)


def holders() -> tuple[ConsumerEntry, ...]:
    keys = (
        KeyEntry(name="revoked", sha256=digest(REVOKED), revoked=True),
        KeyEntry(name="expired", sha256=digest(EXPIRED), not_after=1),
        KeyEntry(name="early", sha256=digest(EARLY), not_before=2**40),
    )
    return (consumer(), replace(consumer("others"), keys=keys))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def bundle() -> Bundle:
    return bundle_of(shard(consumers=holders()))


async def ask(plane: DataPlane, key: str, path: str = "/v1/chat/completions") -> RawAnswer:
    if path.endswith("/models"):
        return await exchange(plane, request(b"", method="GET", path=path, key=key))
    return await exchange(plane, request(chat(), path=path, key=key))


def shape(answer: RawAnswer) -> tuple[int, Mapping[str, str], bytes]:
    """All of it but the request's own id and the time."""
    return answer.status, {**answer.headers, "x-request-id": "", "date": ""}, answer.body


async def test_unknown_malformed_and_revoked_keys_get_the_same_answer(bundle: Bundle) -> None:
    async with running(bundle, failures_per_address=MANY, failures_per_prefix=MANY) as plane:
        for path in ("/v1/chat/completions", "/v1/models"):
            shapes = [
                shape(await ask(plane, key, path))
                for key in (OTHER_KEY, REVOKED, "x", "sk-\xff{}", "sk" * 2000, "tg_live_0123456789abcdef")
            ]
            assert all(each == shapes[0] for each in shapes)
            assert shapes[0][0] == 401


async def test_expired_and_early_keys_differ_only_in_their_message(bundle: Bundle) -> None:
    async with running(bundle, failures_per_address=MANY, failures_per_prefix=MANY) as plane:
        unknown = await ask(plane, OTHER_KEY)
        for key in (EXPIRED, EARLY):
            answer = await ask(plane, key)
            assert answer.status == unknown.status
            assert answer.headers.keys() == unknown.headers.keys()
            told, known = answer.json()["error"], unknown.json()["error"]
            assert {**told, "message": ""} == {**known, "message": ""}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
async def test_who_fails_too_often_waits_and_a_valid_key_still_passes(bundle: Bundle, path: str) -> None:
    async with running(bundle, failures_per_address=LONG) as plane:
        assert (await ask(plane, OTHER_KEY, path)).status == 401
        shapes = []
        for key in (OTHER_KEY, REVOKED, EXPIRED, "sk-another"):
            answer = await ask(plane, key, path)
            assert answer.status == 429
            assert answer.json()["error"]["code"] == "too_many_failed_authentications"
            assert 3500 < int(answer.headers["retry-after"]) <= 3600
            shapes.append(answer.headers.keys())
        assert all(each == shapes[0] for each in shapes)
        assert (await ask(plane, KEY, path)).status == 200
        metrics = (await admin(plane, "/metrics")).text
        assert 'tidegate_authentication_failures_total{reason="unknown_key"} 1.0' in metrics
        assert 'tidegate_authentication_failures_total{reason="limited"} 4.0' in metrics


async def test_guesses_that_begin_alike_are_limited_too(bundle: Bundle) -> None:
    async with running(bundle, failures_per_address=MANY, failures_per_prefix=Rate(2, 3600.0)) as plane:
        assert [(await ask(plane, f"sk-test-{number}")).status for number in range(4)] == [401, 401, 429, 429]
        assert (await ask(plane, "tg-other-1")).status == 401
        assert (await ask(plane, KEY)).status == 200
