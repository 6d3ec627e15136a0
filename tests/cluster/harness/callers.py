"""Calls to a data plane as a plain HTTP client makes them; the whole answer is kept, for tests that search it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """An answer as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's `code`; empty for an answer that is no error."""
        return str(self.json.get("error", {}).get("code", "")) if self.body.startswith(b"{") else ""

    @property
    def text(self) -> str:
        """What the model said."""
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def raw(self) -> bytes:
        """Headers and body, to search in."""
        return json.dumps(dict(self.headers)).encode() + b"\n" + self.body


def ask(url: str, *, key: str = "", model: str = "chat", content: str = "Hi.", timeout: float = 10.0) -> Reply:
    """One chat completion. Raises OSError when nobody answers."""
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return send("POST", url + CHAT, key=key, body=body, timeout=timeout)


def send(method: str, url: str, *, key: str = "", body: Any = None, timeout: float = 10.0) -> Reply:
    """One request with a bearer key and a JSON body, each if given."""
    parts = urlsplit(url)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    payload = None if body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=payload, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
    finally:
        connection.close()


def status_of(admin_url: str, query: str = "") -> Any:
    """`/-/status` of a data plane."""
    return send("GET", f"{admin_url}/-/status{query}").json
