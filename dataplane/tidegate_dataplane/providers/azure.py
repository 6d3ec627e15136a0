"""Azure OpenAI: the key in `api-key`, the model as a deployment in the path, the API version in the query.

Source: "Azure OpenAI in Azure AI Foundry Models REST API reference"
(learn.microsoft.com/azure/ai-services/openai/reference), data-plane inference. Responses is not below a deployment
there, and neither are fine-tuning jobs: both read the model from the body. There is no Moderation.
"""

from urllib.parse import quote

from tidegate_dataplane.providers.openai import PATHS
from tidegate_dataplane.snapshot.entries import Operation

_BY_BODY = frozenset({Operation.RESPONSES, Operation.FINE_TUNE})


class AzureDialect:
    """`base` is the endpoint's path, mostly empty; `api_version` such as 2024-10-21."""

    def __init__(self, base: bytes, api_version: str) -> None:
        self._base = base
        self._query = b"?api-version=" + quote(api_version, safe="").encode("ascii")

    def target(self, operation: Operation, model: str) -> bytes | None:
        """Path and query to POST to; None when the provider does not know the operation."""
        if operation is Operation.MODERATION:
            return None
        path = PATHS.get(operation)
        if path is None:
            return None
        if operation in _BY_BODY:
            return self._base + b"/openai" + path + self._query
        deployment = quote(model, safe="").encode("ascii")
        return self._base + b"/openai/deployments/" + deployment + path + self._query

    def credential(self, key: bytes) -> tuple[bytes, bytes]:
        """The header that carries the key."""
        return b"api-key", key
