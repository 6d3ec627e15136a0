"""What can go wrong between us and a provider.

Every error says whether any byte of the request may have reached the provider (`sent`), because that alone
decides what a caller may safely repeat: an unsent request may be repeated whatever its method, a sent one
only when it is idempotent (RFC 9110, section 9.2.2) or when the operator's retry rule accepts the risk.
"""


class UpstreamError(Exception):
    """The exchange with the provider failed. `sent`: a byte of the request may have reached the provider."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectFailed(UpstreamError):
    """Name resolution, TCP or TLS failed; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class ConnectTimeout(UpstreamError):
    """No connection within `connect_timeout` (or none became free, at the connection limit); nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class ResponseTimeout(UpstreamError):
    """The provider did not take the request, answer, or continue its body in time."""


class ProtocolError(UpstreamError):
    """The provider's bytes are not an HTTP/1.1 response that can be framed without doubt."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message, sent=sent)


class ConnectionLost(UpstreamError):
    """The connection ended before the response did. `answered`: at least one response byte had arrived."""

    def __init__(self, message: str, *, sent: bool, answered: bool) -> None:
        super().__init__(message, sent=sent)
        self.answered = answered


class ResponseTooLarge(UpstreamError):
    """The body is longer than the limit the reader gave."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)
