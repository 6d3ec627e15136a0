"""Keeps the webhook's Secret, its certificate in use, and what the ValidatingWebhookConfiguration says of it, in step.

Every operator does so, leading or not: writes name the version that they replace, so that of two that renew at once
one finds the other's work and takes it.
"""

import asyncio
import base64
import contextlib
import logging
import os
import random
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tidegate_operator.admission.certificates import Kept, Lives, Pair, ends_at, read_kept, renewed, written
from tidegate_operator.admission.configuration import WEBHOOKS, Configuration, pointed
from tidegate_operator.ingest import SecretObject, decoded
from tidegate_operator.kube import API_FAILURES, SECRETS, Api, ApiError

_log = logging.getLogger(__name__)

_SLOWEST_SECONDS = 30.0
_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are kept, and what the certificate is for. `configuration` is cluster-wide."""

    namespace: str
    secret: str
    configuration: str
    names: tuple[str, ...]


class Keeper:
    """Follows the Secret; `context` serves TLS with what it holds, also for connections after a renewal."""

    def __init__(
        self,
        api: Api,
        place: Place,
        *,
        lives: Lives | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._place = place
        self._lives = lives or Lives()
        self._now = now
        self._kept: Kept | None = None
        self._told = ""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.ready = asyncio.Event()

    @property
    def token(self) -> str:
        """The secret part of the webhook's path; "" before there is one."""
        return self._kept.token if self._kept is not None else ""

    @property
    def ends(self) -> float:
        """When the certificate in use ends, in seconds since the epoch; 0 before there is one."""
        return ends_at(self._kept.serving) if self._kept is not None else 0.0

    async def run(self) -> None:
        """Look after it until cancelled."""
        usual = min(_SLOWEST_SECONDS, self._lives.serving.total_seconds() / 30, self._lives.overlap.total_seconds() / 4)
        while True:
            pause = usual * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            try:
                await self.step()
            except API_FAILURES as error:
                # A conflict means that another operator has just done it: look at once.
                pause = 0.1 if isinstance(error, ApiError) and error.conflict else min(usual, _RETRY_SECONDS)
                if not (isinstance(error, ApiError) and error.conflict):
                    self._tell(f"the webhook's certificate could not be looked after: {error or type(error).__name__}")
            await asyncio.sleep(pause)

    async def step(self) -> None:
        """Renew what is due, serve what is kept, say so in the configuration. Raises API_FAILURES."""
        secret = await self._read()
        kept = read_kept(decoded(secret.data)) if secret is not None else None
        wanted = renewed(kept, self._place.names, self._now(), self._lives)
        if wanted is not kept:
            await self._write(wanted, secret)
            _log.info("renewed the webhook's certificate: it is good until %s", _moment(ends_at(wanted.serving)))
        if self._kept is None or self._kept.serving != wanted.serving:
            _load(self.context, wanted.serving)
        self._kept = wanted
        self.ready.set()
        await self._point(wanted)

    async def _read(self) -> SecretObject | None:
        try:
            return await self._api.get(SECRETS.path(self._place.namespace, self._place.secret), SecretObject)
        except ApiError as error:
            if error.missing:
                return None
            raise

    async def _write(self, kept: Kept, replacing: SecretObject | None) -> None:
        data = {name: base64.b64encode(value).decode() for name, value in written(kept).items()}
        labels = {"app.kubernetes.io/part-of": "tidegate"}
        metadata: dict[str, Any] = {"name": self._place.secret, "namespace": self._place.namespace, "labels": labels}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
        if replacing is None:
            await self._api.create(SECRETS.path(self._place.namespace), body)
            return
        # Labels and annotations of who made it (a chart) stay.
        metadata["resourceVersion"] = replacing.metadata.resource_version
        metadata["labels"] = {**(replacing.metadata.labels or {}), **labels}
        metadata["annotations"] = replacing.metadata.annotations or {}
        await self._api.replace(SECRETS.path(self._place.namespace, self._place.secret), body)

    async def _point(self, kept: Kept) -> None:
        path = WEBHOOKS.path(None, self._place.configuration)
        try:
            found = msgspec.json.decode(await self._api.request("GET", path), type=Configuration)
        except ApiError as error:
            if error.missing:
                self._tell(f"there is no ValidatingWebhookConfiguration {self._place.configuration}: nobody asks us")
                return
            raise
        patch = pointed(found, kept)
        if patch:
            await self._api.request("PATCH", path, body=patch, content_type="application/json-patch+json")  # type: ignore[arg-type]  # a list
            _log.info("the ValidatingWebhookConfiguration %s trusts our certificate now", self._place.configuration)
        self._told = ""

    def _tell(self, message: str) -> None:
        if message != self._told:
            _log.warning("%s", message)
        self._told = message


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """New connections get this certificate; those that are open go on. OpenSSL reads files only."""
    with _file(pair.certificate + pair.key) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[Path]:
    """A file that holds a private key: in memory where the system can, else readable by us alone, and gone at once."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(number, content)
            yield Path(f"/proc/self/fd/{number}")
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
