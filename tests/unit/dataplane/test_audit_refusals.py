"""What the HTTP layer refuses by itself leaves a line in the audit log too, and only one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from dataplane.factory import KEY, bundle_of, shard
from dataplane.planes import running
from dataplane.raw_http import chat, connect, exchange, read_answer, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import Limits

TIGHT = Limits(head_bytes=2000, head_count=10, head_seconds=0.05, body_seconds=0.05, body_bytes=1000)
BODY_LATE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: AI.test:80\r\ncontent-length: 10\r\n\r\n{"


def lines(path: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if "event" not in line]


async def sent(plane: DataPlane, data: bytes) -> tuple[int, str]:
    """Status and request id of the answer."""
    found = await exchange(plane, data)
    return found.status, found.headers["x-request-id"]


@pytest.mark.parametrize(
    ("data", "status", "code", "path"),
    [
        (b"NONSENSE\r\n\r\n", 400, "malformed_request", ""),
        (b"GET /a?key=secret HTTP/9.9\r\n\r\n", 400, "malformed_request", "/a"),
        (b"GET /b?key=secret HTTP/1.1\r\nhost: AI.test\r\nx: " + b"y" * 3000, 431, "headers_too_large", "/b"),
        (b"GET /c HTTP/1.1\r\nhost: AI.test\r\n" + b"x: y\r\n" * 20 + b"\r\n", 431, "headers_too_large", "/c"),
        (b"GET /d HTTP/1.1\r\nhost: AI.test\r\n", 408, "request_timeout", "/d"),
        (BODY_LATE.replace(b"\r\n\r\n", b"\r\nauthorization: Bearer " + KEY.encode() + b"\r\n\r\n"), 408,
         "request_timeout", "/v1/chat/completions"),
        (request(chat(messages=["x" * 2000]), key=KEY), 413, "request_too_large", "/v1/chat/completions"),
    ],
)  # fmt: skip
async def test_a_refusal_leaves_one_line(tmp_path: Path, data: bytes, status: int, code: str, path: str) -> None:
    log = tmp_path / "audit.jsonl"
    async with running(bundle_of(shard()), audit=log, limits=TIGHT) as plane:
        answered, request_id = await sent(plane, data)
        metrics = plane.metrics.render().decode()
    (line,) = lines(log)
    assert (line["outcome"], line["status"], line["code"]) == ("Rejected", status, code)
    assert answered == status
    assert (line["requestId"], line["address"], line.get("path", "")) == (request_id, "127.0.0.1", path)
    assert "secret" not in log.read_text()
    assert f'code="{code}"' in metrics
    assert f'status="{status}"' in metrics


async def test_a_refusal_after_a_request_says_nothing_of_that_request(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with running(bundle_of(shard()), audit=log) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(), key=KEY))
        assert (await read_answer(reader)).status == 200
        writer.write(b"\x16\x03\x01\r\n\r\n")
        assert (await asyncio.wait_for(read_answer(reader), 5)).status == 400
        writer.close()
    served, refused = lines(log)
    assert (served["outcome"], refused["outcome"]) == ("Served", "Rejected")
    assert "path" not in refused
    assert "host" not in refused
