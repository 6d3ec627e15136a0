"""Whoever is shut out while it still sends its request does not come in by having begun in time."""

import hashlib

import pytest

from dataplane.factory import KEY, bundle_of, consumer, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, connect, read_answer, request
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.reload import Outcome
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry

DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
REVOKED = ConsumerEntry(source=source("search"), keys=(KeyEntry(name="main", sha256=DIGEST, revoked=True),))
OTHER = consumer("other", key="sk-of-somebody-else-0123456789")


async def begun(plane: DataPlane, sent: bytes, rest: bytes, after: ConsumerEntry) -> RawAnswer:
    """The answer to a request whose rest is sent after `after` took effect."""
    reader, writer = await connect(plane)
    try:
        writer.write(sent)
        await until(lambda: plane.metrics.in_flight == 1)
        assert await plane.reloader.offer(bundle_of(shard(consumers=[after]), revision=2)) is Outcome.LOADED
        writer.write(rest)
        return await read_answer(reader)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("after", "status", "code"),
    [
        (REVOKED, 401, "invalid_api_key"),
        (OTHER, 401, "invalid_api_key"),
        (consumer(suspended=True), 403, "consumer_suspended"),
    ],
    ids=["revoked", "deleted", "suspended"],
)
async def test_what_was_taken_away_while_the_body_came_counts(after: ConsumerEntry, status: int, code: str) -> None:
    whole = request(chat(), key=KEY)
    async with running(bundle_of(shard())) as plane:
        answer = await begun(plane, whole[:-10], whole[-10:], after)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


async def test_whoever_may_still_come_in_does() -> None:
    whole = request(chat(), key=KEY)
    async with running(bundle_of(shard())) as plane:
        answer = await begun(plane, whole[:-10], whole[-10:], consumer())
        assert answer.status == 200
        assert plane.metrics.in_flight == 0
