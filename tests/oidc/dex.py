"""A real OpenID provider for tests: Dex on loopback with TLS, and what may be done to it.

It keeps its keys in SQLite, so that they survive its restarts. Dex makes a new signing key when it starts and the last
one is older than `signingKeys`; it goes on to publish the old one for as long as tokens live. `rotate` uses that.
`forget_keys` takes the old keys away as well, as one does after a theft.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import signal
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import yaml

from cluster.harness.binaries import find_dex
from cluster.harness.certificates import write_private
from cluster.harness.processes import ChildProcess, free_port, wait_until
from pki.authority import Authority

USER = "search"
_PASSWORD = "open-sesame"


@dataclass(frozen=True)
class Client:
    """A client that Dex knows; its name is the audience of its tokens."""

    name: str
    secret: str


GATEWAY = Client("tidegate", "secret-of/the:gateway+1%")
OTHER = Client("somebody-else", "secret-of-somebody-else")


class Dex:
    """One provider. Use as a context manager. `token_seconds` is how long its tokens live."""

    def __init__(self, *, token_seconds: int = 3600) -> None:
        """Prepare certificate and configuration; nothing runs yet. Raises ToolsMissing when Dex is not built."""
        self._binary = find_dex()
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-dex-"))
        self.port = free_port()
        self.issuer = f"https://127.0.0.1:{self.port}/dex"
        self.introspection_endpoint = f"{self.issuer}/token/introspect"
        authority = Authority.create("tidegate-test-idp")
        self.ca_bundle = authority.pem.decode()
        issued = authority.issue("dex", ["127.0.0.1"])
        self._tls = ssl.create_default_context(cadata=self.ca_bundle)
        certificate = write_private(self.directory / "tls.crt", issued.certificate)
        key = write_private(self.directory / "tls.key", issued.key)
        self._config = self.directory / "config.yaml"
        self._config.write_text(yaml.safe_dump(self._configuration(certificate, key, token_seconds)))
        self._process: ChildProcess | None = None

    def _configuration(self, certificate: Path, key: Path, token_seconds: int) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "storage": {"type": "sqlite3", "config": {"file": str(self.directory / "dex.db")}},
            "web": {"https": f"127.0.0.1:{self.port}", "tlsCert": str(certificate), "tlsKey": str(key)},
            "expiry": {"signingKeys": "1ms", "idTokens": f"{token_seconds}s"},
            "oauth2": {"passwordConnector": "people", "skipApprovalScreen": True},
            "connectors": [
                {
                    "type": "mockPassword",
                    "id": "people",
                    "name": "People",
                    "config": {"username": USER, "password": _PASSWORD},
                }
            ],
            "staticClients": [
                {"id": client.name, "name": client.name, "secret": client.secret, "redirectURIs": [self.issuer]}
                for client in (GATEWAY, OTHER)
            ],
        }

    def start(self) -> None:
        """Start it, with a new signing key, and wait until it answers."""
        self._process = ChildProcess("dex", [self._binary, "serve", self._config], log=self.directory / "dex.log")
        wait_until(self._answers, what="starting Dex", deadline=30.0, process=self._process)

    def stop(self) -> None:
        """Take it away: connections are refused from now on."""
        if self._process is not None:
            self._process.stop(grace=0.0)
            self._process = None

    def pause(self) -> None:
        """Make it a black hole: the kernel goes on to accept connections, and nobody answers."""
        self._running().signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().signal(signal.SIGCONT)

    def rotate(self) -> None:
        """Sign with a new key; the old ones stay published."""
        self.stop()
        self.start()

    def forget_keys(self) -> None:
        """Sign with a new key; the old ones are gone."""
        self.stop()
        for file in self.directory.glob("dex.db*"):
            file.unlink()
        self.start()

    def token(self, client: Client = GATEWAY, *, kind: str = "access_token") -> str:
        """A token for the user. `kind`: access_token or id_token, which are JWTs, or refresh_token, which is opaque."""
        form = {
            "grant_type": "password",
            "username": USER,
            "password": _PASSWORD,
            "scope": "openid email groups profile offline_access",
        }
        basic = base64.b64encode(f"{quote(client.name)}:{quote(client.secret, safe='')}".encode()).decode()
        headers = {"content-type": "application/x-www-form-urlencoded", "authorization": f"Basic {basic}"}
        status, body = self._request("POST", "/dex/token", urlencode(form), headers)
        if status != 200:
            raise RuntimeError(f"Dex gives no token: {status} {body!r}")
        return str(json.loads(body)[kind])

    def jwks(self) -> str:
        """The published JWK set."""
        return self._request("GET", "/dex/keys")[1].decode()

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/dex/.well-known/openid-configuration")[0] == 200
        except OSError:
            return False

    def _request(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._tls)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _running(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("Dex does not run")
        return self._process

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
