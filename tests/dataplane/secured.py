"""Serving TLS in tests: the files as Kubernetes mounts them, and clients with certificates of their own."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from dataplane.raw_http import RawAnswer, read_answer, request
from pki.authority import Authority, Issued
from tidegate_dataplane.listener import Listener
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.settings import Address, Limits, TlsSettings
from tidegate_dataplane.source.state import Health
from tidegate_dataplane.transport.connections import Connections
from tidegate_dataplane.transport.tls import ServerTls

_numbers = count()


@dataclass
class MountedSecret:
    """A directory whose files are links into `..data`, which is swapped as a kubelet does it."""

    path: Path

    def put(self, **files: bytes) -> None:
        """Replace the whole content at once; `_` in a name stands for a dot."""
        fresh = self.path / f"..{next(_numbers)}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name.replace("_", ".")).write_bytes(content)
        link = self.path / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.path / "..data")
        for name in files:
            visible = self.path / name.replace("_", ".")
            if not visible.is_symlink():
                visible.symlink_to(Path("..data") / visible.name)


@dataclass
class Site:
    """The certificates of a gateway and its callers, in files. `serve` writes a new serving certificate."""

    root: Path
    servers: Authority = field(default_factory=lambda: Authority.create("Test Servers"))
    callers: Authority = field(default_factory=lambda: Authority.create("Test Callers"))

    def __post_init__(self) -> None:
        self.secret = MountedSecret(self.root / "tls")
        self.secret.path.mkdir(parents=True)
        self.trust(self.callers)
        self.serve()

    @property
    def client_ca(self) -> Path:
        return self.root / "clients.crt"

    @property
    def crl(self) -> Path:
        return self.root / "clients.crl"

    def serve(self) -> Issued:
        issued = self.servers.issue("gateway", ["127.0.0.1", "localhost"])
        self.secret.put(tls_crt=issued.certificate, tls_key=issued.key)
        return issued

    def trust(self, *authorities: Authority) -> None:
        replace(self.client_ca, b"".join(each.pem for each in authorities))

    def revoke(self, *issued: Issued) -> None:
        replace(self.crl, self.callers.revoke(*issued))

    def settings(self, **more: Any) -> TlsSettings:
        """Of the serving certificate; with `client_ca` and so on as given."""
        return TlsSettings(certificate=self.secret.path / "tls.crt", key=self.secret.path / "tls.key", **more)

    def client(self, issued: Issued | None = None, *chain: Authority) -> ssl.SSLContext:
        """Trusts the gateway; shows `issued`, with the authorities between it and the root."""
        context = ssl.create_default_context(cadata=self.servers.pem.decode())
        if issued is not None:
            certificate = self.root / f"client-{next(_numbers)}.pem"
            certificate.write_bytes(issued.key + issued.certificate + b"".join(each.pem for each in chain))
            context.load_cert_chain(certificate)
        return context


def replace(path: Path, content: bytes) -> None:
    """Atomically, as whoever edits such a file must."""
    fresh = path.with_suffix(".tmp")
    fresh.write_bytes(content)
    os.replace(fresh, path)


@dataclass
class Wire:
    """One connection that stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, address: Address, context: ssl.SSLContext | None) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", address.port, ssl=context))

    async def ask(self, data: bytes | None = None, *, headers: tuple[str, ...] = ()) -> RawAnswer:
        self.writer.write(request(b"", method="GET", path="/", headers=headers) if data is None else data)
        async with asyncio.timeout(10):
            return await read_answer(self.reader)

    async def ended(self) -> bool:
        """Whether the other side closes now, with nothing more to say."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""

    @property
    def server_serial(self) -> int:
        return int(self.writer.get_extra_info("peercert")["serialNumber"], 16)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass


@dataclass
class Gate:
    """A listener whose application answers with what it knows of the caller."""

    listener: Listener
    tls: ServerTls | None
    connections: Connections

    @property
    def address(self) -> Address:
        return self.listener.address

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        exchange = Exchange(scope, send, self.connections)
        certificate = exchange.certificate
        body = {
            "scheme": scope["scheme"],
            "address": exchange.address,
            "peer": exchange.peer,
            "subject": None if certificate is None else certificate.subject,
            "uris": [] if certificate is None else certificate.uris,
            "through": None if certificate is None else certificate.through,
            "fault": exchange.certificate_fault,
            "proxyHeaders": sorted(exchange.proxy_headers),
        }
        await exchange.respond(200, [], json.dumps(body).encode())


@asynccontextmanager
async def gate(
    settings: TlsSettings | None = None, *, limits: Limits | None = None, host: str = "127.0.0.1", **connections: Any
) -> AsyncIterator[Gate]:
    """Serve on a free port; the files of `settings` are looked at every few milliseconds."""
    tls = None if settings is None else ServerTls(settings, poll=0.02)
    found = Gate(None, tls, Connections(verifier=tls, **connections))  # type: ignore[arg-type]  # filled in below
    found.listener = Listener(found, Address(host, 0), limits or Limits(), tls)
    await found.listener.start()
    watching = None if tls is None else asyncio.create_task(tls.run())
    try:
        yield found
    finally:
        await found.listener.stop(1.0)
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])


def failing(gate: Gate) -> str:
    """Why the files cannot be used; "" when they can."""
    state = gate.tls.states[0]  # type: ignore[union-attr]  # only asked of a gate with TLS
    return state.message if state.health is Health.FAILING else ""
