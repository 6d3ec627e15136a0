"""Makes one call and insists on its answer, before thousands of them are counted."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from bench.wrk import Call


class WrongAnswer(RuntimeError):
    """A server under test did not answer what the benchmark is about; the message holds its answer."""


def send(call: Call, *, timeout: float = 30.0) -> tuple[int, bytes]:
    """Post the call once; returns status and body. Raises OSError when nobody answers."""
    parts = urlsplit(call.url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    try:
        headers = dict(call.headers)
        if call.bearers is not None:
            headers["authorization"] = f"Bearer {call.bearers.read_text().splitlines()[0]}"
        connection.request("POST", parts.path, body=call.body.read_bytes(), headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def expect_answer(call: Call) -> Any:
    """Post the call once and return its chat completion; raises WrongAnswer for anything else."""
    status, body = send(call)
    if status != http.HTTPStatus.OK:
        raise WrongAnswer(f"{call.url} answered {status}: {body[:500]!r}")
    completion = json.loads(body)
    if "choices" not in completion or "usage" not in completion:
        raise WrongAnswer(f"{call.url} answered no chat completion with usage: {body[:500]!r}")
    return completion
