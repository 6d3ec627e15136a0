"""Tells when an API server shows a new generation of an object: the moment from which the operator could know, too."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from cluster.harness.apiserver import ApiServer
from cluster.harness.objects import Manifest, collection_of

_TIMEOUT = 600.0


class Watch:
    """A watch on one object. Use as a context manager."""

    def __init__(self, server: ApiServer, manifest: Manifest) -> None:
        """Opens the stream; what the object is now is told first."""
        self._seen = threading.Condition()
        self._at: dict[int, float] = {}
        context = ssl.create_default_context(cafile=str(server.ca_path))
        port = urlsplit(server.url).port
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=_TIMEOUT)
        query = f"watch=1&fieldSelector=metadata.name={manifest['metadata']['name']}&timeoutSeconds={_TIMEOUT:.0f}"
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        self._connection.request("GET", f"{collection_of(manifest)}?{query}", headers=headers)
        self._stream = self._connection.getresponse()
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_beyond(self, generation: int, *, deadline: float) -> float:
        """The time (`time.monotonic`) at which a generation above that was first seen. Raises TimeoutError."""
        with self._seen:
            if not self._seen.wait_for(lambda: any(each > generation for each in self._at), timeout=deadline):
                raise TimeoutError(f"no generation above {generation} within {deadline:g} s, seen: {sorted(self._at)}")
            return min(at for each, at in self._at.items() if each > generation)

    def _read(self) -> None:
        try:
            for line in iter(self._stream.readline, b""):
                self._note(json.loads(line))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            if not self._closed:
                raise

    def _note(self, event: Any) -> None:
        now = time.monotonic()
        generation = event["object"].get("metadata", {}).get("generation")
        if generation is not None:
            with self._seen:
                self._at.setdefault(generation, now)
                self._seen.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join()
        self._connection.close()
