"""A data plane's `/-/status` under the test's control: what it runs, whether it is ready, what it refuses."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class PlaneDouble:
    """Speaks the long poll as the real data plane does. Use as a context manager."""

    def __init__(self, *, revision: int = 0, ready: bool = True) -> None:
        self._changed = threading.Condition()
        self._status: dict[str, Any] = {"revision": revision, "ready": ready, "lastRefusal": None}
        self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def runs(self, revision: int, *, ready: bool = True) -> None:
        """From now on it reports this revision, and nothing refused."""
        self._set(revision=revision, ready=ready, lastRefusal=None)

    def refuses(self, revision: int, message: str) -> None:
        """From now on it reports that it refused `revision`, with the data plane's own words."""
        self._set(lastRefusal={"reason": "BuildFailed", "message": message, "revision": revision})

    def answer(self, wanted: int, seconds: float) -> bytes:
        """Wait as `waitRevision` and `timeoutSeconds` ask, then say what it runs."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._closed and not self._has(wanted) and (rest := deadline - time.monotonic()) > 0:
                self._changed.wait(rest)
            return json.dumps(self._status).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _has(self, wanted: int) -> bool:
        refusal = self._status["lastRefusal"]
        return self._status["revision"] >= wanted or (refusal is not None and refusal["revision"] == wanted)

    def _set(self, **changes: Any) -> None:
        with self._changed:
            self._status.update(changes)
            self._changed.notify_all()


def _handler(plane: PlaneDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            wanted = int(query.get("waitRevision", ["0"])[0])
            body = plane.answer(wanted, float(query.get("timeoutSeconds", ["0"])[0]))
            try:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                # The operator was killed while it waited.
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
