"""The data plane's real ASGI application, driven in process: no socket, no thread, and a clock that a test sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from deciding.random_world import Request
from oidc.signing import signers
from tidegate_dataplane.app import Traffic
from tidegate_dataplane.audit import AuditGate, AuditRecord
from tidegate_dataplane.authenticate.authenticator import Authenticator
from tidegate_dataplane.authenticate.failures import FailureLimiter
from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.behaviour import Behaviour
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.key_uses import KeyUses
from tidegate_dataplane.ledger.ledger import Ledger
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pressure.waiting import QuotaLines
from tidegate_dataplane.providers.connectors import Connectors
from tidegate_dataplane.proxy import exchange
from tidegate_dataplane.proxy.accounts import Accounts
from tidegate_dataplane.proxy.forward import Forwarder
from tidegate_dataplane.proxy.relay import Relay
from tidegate_dataplane.proxy.reserving import Reserver
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.transport.certificate import ClientCertificate
from tidegate_dataplane.transport.connections import Connections
from tidegate_dataplane.transport.peer import CERTIFICATE
from tidegate_dataplane.upstream import UpstreamClient

_PROMPTS = {"chat/completions": "messages", "embeddings": "input", "completions": "prompt"}
_NEVER = Rate(1_000_000, 1.0)


@dataclass(frozen=True)
class Answer:
    """What a caller got, and what was written down about it."""

    status: int
    code: str
    record: AuditRecord


class _Records:
    """An audit log that keeps its records."""

    def __init__(self) -> None:
        self.gate = AuditGate()
        self.kept: list[AuditRecord] = []

    def add(self, record: AuditRecord) -> None:
        self.kept.append(record)


class Gateway:
    """One data plane that lives through many worlds."""

    def __init__(self, client: UpstreamClient, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(exchange, "time", lambda: self.now)
        self._client = client
        self._credentials = Credentials()
        self._tokens = Tokens(client, self._credentials)
        self._metrics = Metrics()

    def run(self, runtime: Runtime) -> None:
        """Serve another world, in which nobody has called yet."""
        self.runtime = runtime
        self.behaviour = Behaviour()
        self._records = _Records()
        self._tokens.follow({key: provider.entry for key, provider in runtime.providers.by_key.items()})
        reloader: Any = self
        records: Any = self._records
        ledger = Ledger()
        reserver = Reserver(ledger, QuotaLines())
        self._app = Traffic(
            reloader=reloader,
            reserver=reserver,
            forwarder=Forwarder(Connectors(self._client, self._credentials), self._metrics),
            relay=Relay(1_000_000),
            accounts=Accounts("default", ledger, reserver, records, self._metrics),
            metrics=self._metrics,
            body_bytes=1_000_000,
            authenticator=Authenticator(self._tokens, FailureLimiter(_NEVER, _NEVER), self.behaviour),
            behaviour=self.behaviour,
            key_uses=KeyUses(),
            connections=Connections(),
        )

    async def send(self, request: Request) -> Answer:
        """One request, from its bytes to the audit record."""
        self.now = request.now
        body = body_of(request)
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = {**request.headers, "host": request.host, "content-length": str(len(body)), **credentials_of(request)}
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": request.path,
            "raw_path": request.path.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": (request.address, 40_000),
        }
        if request.certificate:
            scope[CERTIFICATE] = ClientCertificate(subject="CN=mesh", uris=(request.certificate,), fingerprint="f" * 64)
        await self._app(scope, receive, send)
        status: int = sent[0]["status"]
        text = b"".join(message.get("body", b"") for message in sent[1:])
        code = "" if status == 200 else json.loads(text)["error"]["code"]
        return Answer(status, code, self._records.kept[-1])


def body_of(request: Request) -> bytes:
    prompt: Any = "x" * request.padding
    field = next(field for suffix, field in _PROMPTS.items() if request.path.endswith(suffix))
    return json.dumps(
        {"model": request.model, field: [{"role": "user", "content": prompt}] if field == "messages" else prompt}
    ).encode()


def credentials_of(request: Request) -> dict[str, str]:
    """The headers that prove who calls: a token in `authorization`, a key there or beside it."""
    if request.token is None:
        return {"authorization": f"Bearer {request.key}"} if request.key else {}
    now = int(request.now)
    token = signers()["ES256"].token(**{"iat": now, "nbf": now, "exp": now + 3_600, **request.token})
    headers = {"authorization": f"Bearer {token}"}
    return {**headers, "x-api-key": request.key} if request.key else headers
