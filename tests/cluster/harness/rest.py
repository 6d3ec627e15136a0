"""A small synchronous JSON client for the API server, quick enough to create thousands of objects.

Keep-alive connections, one for each thread; no models, no discovery. Paths are those of the API
conventions, for example `/apis/tidegate.dev/v1alpha1/namespaces/team-a/airoutes`.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

JSON: TypeAlias = Any
"""Whatever json.loads returns; objects of the API are dicts."""

T = TypeVar("T")

_PAGE = 500
_TOO_MANY_REQUESTS = 429
_PATIENCE = 30.0
"""Seconds for which a request that the server throttles is repeated."""


class ApiError(RuntimeError):
    """The API server refused: `status` is the HTTP code, `reason` the machine-readable word of the Status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Throughput:
    """What a bulk operation did: how many objects in how many seconds."""

    objects: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.objects / self.seconds if self.seconds else float("inf")

    def __str__(self) -> str:
        return f"{self.objects} objects in {self.seconds:.2f} s ({self.per_second:.0f}/s)"


class Rest:
    """JSON requests with a bearer token, verified against a CA. Safe to use from several threads.

    Every method raises ApiError for a status of 400 and above, and OSError when the server is away.
    """

    def __init__(self, url: str, *, ca_path: Path, token: str, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca_path))
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._timeout = timeout
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []
        self._lock = threading.Lock()

    def get(self, path: str, **query: str) -> JSON:
        """Read one object, or anything else that answers with JSON."""
        return json.loads(self.request("GET", _with_query(path, query)))

    def list(self, path: str, **query: str) -> list[JSON]:
        """All items of a collection, page by page."""
        items: list[JSON] = []
        token = ""
        while True:
            more = {"continue": token} if token else {}
            page = self.get(path, limit=str(_PAGE), **query, **more)
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return items

    def create(self, path: str, body: JSON) -> JSON:
        """POST `body` to a collection."""
        return json.loads(self.request("POST", path, body))

    def ensure(self, path: str, body: JSON) -> None:
        """Create it unless an object of that name is there already."""
        try:
            self.create(path, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def replace(self, path: str, body: JSON) -> JSON:
        """PUT a whole object."""
        return json.loads(self.request("PUT", path, body))

    def patch(self, path: str, body: JSON) -> JSON:
        """JSON merge patch (RFC 7386)."""
        return json.loads(self.request("PATCH", path, body, content_type="application/merge-patch+json"))

    def apply(self, path: str, body: JSON, *, field_manager: str = "tests", force: bool = True) -> JSON:
        """Server-side apply; JSON is a subset of the YAML that it takes."""
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return json.loads(
            self.request("PATCH", _with_query(path, query), body, content_type="application/apply-patch+yaml")
        )

    def delete(self, path: str, *, missing_ok: bool = False) -> None:
        """Delete one object, or a whole collection."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if not (missing_ok and error.status == http.HTTPStatus.NOT_FOUND):
                raise

    def create_many(self, objects: Sequence[tuple[str, JSON]], *, threads: int = 4) -> Throughput:
        """Create (collection path, body) pairs from a few threads; the order among them is not kept."""
        return self.for_each(lambda pair: self.create(pair[0], pair[1]), objects, threads=threads)

    def for_each(self, operation: Callable[[T], object], arguments: Sequence[T], *, threads: int = 4) -> Throughput:
        """Call `operation` with each argument from a few threads; the first error is raised after all ended."""
        start = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(operation, arguments):
                pass
        return Throughput(len(arguments), time.monotonic() - start)

    def request(self, method: str, path: str, body: JSON = None, *, content_type: str = "application/json") -> bytes:
        """Send one request and return the body. A throttled one (429) is repeated for half a minute.

        Bytes are sent as they are.
        """
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        headers = self._headers if payload is None else {**self._headers, "Content-Type": content_type}
        give_up = time.monotonic() + _PATIENCE
        while True:
            status, retry_after, answer = self._exchange(method, path, payload, headers)
            if status == _TOO_MANY_REQUESTS and time.monotonic() < give_up:
                time.sleep(min(float(retry_after or 1), 1.0))
                continue
            if status >= http.HTTPStatus.BAD_REQUEST:
                raise _error(status, answer)
            return answer

    def close(self) -> None:
        """Close the connections of every thread."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        connection, fresh = self._connection()
        try:
            return _send(connection, method, path, payload, headers)
        except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError, ssl.SSLEOFError):
            connection.close()
            if fresh:
                raise
            # The server closed an idle connection, as one that was restarted does: nothing was executed
            # there in the case that matters (a request lost mid-way surfaces as AlreadyExists or a no-op).
            return _send(connection, method, path, payload, headers)
        except (OSError, http.client.HTTPException):
            connection.close()
            raise

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        """This thread's connection, and whether it has yet to be opened."""
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=self._timeout)
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection, connection.sock is None


def _send(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    payload: bytes | None,
    headers: dict[str, str],
) -> tuple[int, str | None, bytes]:
    connection.request(method, path, body=payload, headers=headers)
    response = connection.getresponse()
    return response.status, response.getheader("Retry-After"), response.read()


def _with_query(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def _error(status: int, answer: bytes) -> ApiError:
    try:
        body = json.loads(answer)
        return ApiError(status, str(body.get("reason", "")), str(body.get("message", "")))
    except (ValueError, AttributeError):
        return ApiError(status, "", answer.decode(errors="replace")[:500])
