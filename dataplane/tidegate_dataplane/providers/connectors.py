"""The connectors of the backends in force: made when first used, made anew when a backend or a credential changes."""

import logging

from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.providers.answer import Answer, Connector, Question, Unusable
from tidegate_dataplane.providers.azure import AzureDialect
from tidegate_dataplane.providers.http import Dialect, HttpConnector
from tidegate_dataplane.providers.mock import MockConnector
from tidegate_dataplane.providers.openai import OpenAIDialect
from tidegate_dataplane.snapshot.entries import BackendEntry, MockAnswer, Provider
from tidegate_dataplane.upstream import Origin, UpstreamClient

_log = logging.getLogger(__name__)


class Connectors:
    """Keeps one connector for each backend. Belongs to one event loop."""

    def __init__(self, client: UpstreamClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials
        self._made: dict[str, tuple[BackendEntry, Connector]] = {}
        credentials.on_change(self._made.clear)

    def of(self, entry: BackendEntry) -> Connector:
        """Return the connector of a backend. If its credential or address does not serve, asking it raises Unusable."""
        key = entry.source.key
        made = self._made.get(key)
        if made is not None and made[0] is entry:
            return made[1]
        connector = self._make(entry)
        self._made[key] = (entry, connector)
        return connector

    def _make(self, entry: BackendEntry) -> Connector:
        if entry.provider is Provider.MOCK:
            return MockConnector(entry.mock or MockAnswer(reply="Hello from the Mock backend."))
        key = self._credentials.get(entry.credential) if entry.credential else None
        if entry.credential and key is None:
            _log.warning("backend %s cannot be used: its credential is missing", entry.source.key)
            return _Broken("upstream_credential_missing", "its credential is missing, tell the owner of the model")
        try:
            origin, base = Origin.from_url(entry.endpoint, ca_data=entry.ca_bundle or None)
        except (ValueError, OSError) as error:
            _log.warning("backend %s cannot be used: %s", entry.source.key, error)
            return _Broken("upstream_misconfigured", "its address or CA bundle is wrong, tell the owner of the model")
        dialect: Dialect = OpenAIDialect(base)
        if entry.provider is Provider.AZURE_OPEN_AI:
            dialect = AzureDialect(base, entry.api_version)
        return HttpConnector(self._client, origin, dialect, key=key, connect_timeout=entry.connect_timeout_ms / 1000)


class _Broken:
    """Stands for a backend that cannot be asked, so that the log says why once, and callers not what it is called."""

    def __init__(self, code: str, message: str) -> None:
        self._code = code
        self._message = message

    async def ask(self, question: Question, *, response_timeout: float) -> Answer:
        raise Unusable(self._code, self._message)
