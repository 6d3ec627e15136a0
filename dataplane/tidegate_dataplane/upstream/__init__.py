"""The upstream client: HTTP/1.1 to providers. It knows connections and bytes, and nothing of routes or models."""

from tidegate_dataplane.upstream.client import UpstreamClient
from tidegate_dataplane.upstream.errors import (
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    ProtocolError,
    ResponseTimeout,
    ResponseTooLarge,
    UpstreamError,
)
from tidegate_dataplane.upstream.origin import Origin
from tidegate_dataplane.upstream.request_head import HOP_BY_HOP, encode_headers
from tidegate_dataplane.upstream.response import UpstreamResponse

__all__ = [
    "HOP_BY_HOP",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "Origin",
    "ProtocolError",
    "ResponseTimeout",
    "ResponseTooLarge",
    "UpstreamClient",
    "UpstreamError",
    "UpstreamResponse",
    "encode_headers",
]
