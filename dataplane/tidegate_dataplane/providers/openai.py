"""OpenAI and everything that speaks its dialect: the key as a bearer token, the paths of its API below the endpoint.

Source of paths and headers: OpenAI API reference (platform.openai.com/docs/api-reference).
"""

from tidegate_dataplane.snapshot.entries import Operation

PATHS = {
    Operation.CHAT: b"/chat/completions",
    Operation.COMPLETION: b"/completions",
    Operation.RESPONSES: b"/responses",
    Operation.EMBEDDINGS: b"/embeddings",
    Operation.IMAGE: b"/images/generations",
    Operation.MODERATION: b"/moderations",
    Operation.FINE_TUNE: b"/fine_tuning/jobs",
}


class OpenAIDialect:
    """`base` is the endpoint's path, such as /v1."""

    def __init__(self, base: bytes) -> None:
        self._targets = {operation: base + path for operation, path in PATHS.items()}

    def target(self, operation: Operation, model: str) -> bytes | None:
        """Path and query to POST to; None when the provider does not know the operation."""
        return self._targets.get(operation)

    def credential(self, key: bytes) -> tuple[bytes, bytes]:
        """The header that carries the key."""
        return b"authorization", b"Bearer " + key
