"""A data plane that is killed while it calls a webhook: another one, which saw the same counter, calls it."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Any

import pytest

from bench import worlds
from dataplane.receiver import SILENCE, receiver
from dataplane.upstream import answer, completion, upstream
from dataplane.waiting import until
from ledger_chaos import world
from ledger_chaos.fleet import Fleet, Plane
from redis_parts.redis_server import RedisServer

pytestmark = pytest.mark.kills

AMOUNT = 100


def _manifests(endpoint: str, hook: str) -> list[worlds.Manifest]:
    limit = {"unit": "Requests", "amount": str(AMOUNT), "window": {"calendar": "Year"}, "alertAt": [5]}
    quota = {"per": "Namespace", "accuracy": "Exact", "limits": [limit], "notify": {"url": hook}}
    return world.tenant(endpoint, quotas={"soft": quota})


async def _call(plane: Plane) -> None:
    """One call, answered or not: a store that was just begun makes everybody wait for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    body = worlds.chat_body(world.MODEL)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {world.KEY}\r\n"
    head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.read()
    writer.close()


async def _told(plane: Plane) -> str:
    alerts: list[Any] = (await plane.admin("/-/quotas"))["alerts"]
    return str(alerts[0]["told"]) if alerts else ""


async def test_a_kill_while_a_webhook_is_called_loses_no_alert() -> None:
    async with (
        RedisServer(durable=False) as redis,
        receiver([SILENCE] * 100) as hook,
        upstream(answer(completion())) as provider,
        Fleet(_manifests(provider.url, hook.url), count=2, store=redis.url) as fleet,
    ):
        told = [""]
        async with asyncio.timeout(30):
            # Also the one that does not tell must have heard of the total.
            for plane in cycle(fleet.planes):
                await _call(plane)
                told = [await _told(each) for each in fleet.planes]
                if sorted(told) == ["Elsewhere", "Here"]:
                    break
        await until(lambda: hook.came)
        teller, other = sorted(fleet.planes, key=lambda plane: told[plane.number] != "Here")
        await teller.kill()
        hook.script.clear()
        await until(lambda: len(hook.came) > 1, seconds=40)
        assert await _told(other) == "Here"
        assert len(set(hook.ids)) == 1
        assert hook.events[1]["threshold"] == 5
        await asyncio.sleep(1.0)
        assert len(hook.came) == 2, "what was taken is not sent again"
