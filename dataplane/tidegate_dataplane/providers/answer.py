"""What every provider gives back: a status, headers, and a body that is read or streamed."""

from typing import Protocol

from tidegate_dataplane.snapshot.entries import Operation


class Answer(Protocol):
    """An answer whose head is here. `UpstreamResponse` is one. Read it to the end or close it."""

    status: int
    headers: list[tuple[bytes, bytes]]  # lower-case names

    async def read(self, *, limit: int, idle_timeout: float | None = None) -> bytes:
        """The rest of the body; raises UpstreamError."""

    async def next_chunk(self, *, idle_timeout: float | None = None) -> bytes:
        """What has arrived, b"" at the end; raises UpstreamError."""

    async def aclose(self) -> None:
        """Let go of it."""


class Question(Protocol):
    """What a provider is asked. `body` is the JSON to send; `headers` are header lines that
    may pass, each with its CRLF."""

    operation: Operation
    body: bytes
    model: str
    headers: bytes


class Connector(Protocol):
    """Speaks to one backend with one credential."""

    async def ask(self, question: Question, *, response_timeout: float) -> Answer:
        """Return when the head of the answer is here. `response_timeout` in seconds. Raises UpstreamError, Unusable."""


class Unusable(Exception):
    """The backend cannot be asked at all; nothing was sent. `code` as in OpenAI's errors."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
