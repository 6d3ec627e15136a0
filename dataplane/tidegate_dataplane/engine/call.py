"""What a caller asks, as far as deciding needs it: read by the proxy from the request, never changed afterwards."""

from collections.abc import Mapping

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import Operation


class Call(Struct, frozen=True, gc=False):
    """One request.

    `host` is lower case and without a port, `base` is the path without the operation's suffix (see `parse_path`),
    `headers` have lower-case names, `keys` are the API keys presented (in whatever header), `body_bytes` is the size
    of the body, `prompt_tokens` an estimate of the input and `max_output_tokens` what to reserve for the output,
    `images` how many pictures are asked for.
    `address` is the caller's, `peer` that of the other end of the connection; `proxy_headers` are the headers again,
    but only when a trusted proxy sent them.
    """

    host: str
    path: str
    base: str
    operation: Operation
    model: str
    headers: Mapping[str, str]
    address: str = ""
    keys: tuple[str, ...] = ()
    body_bytes: int = 0
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    images: int = 0
    peer: str = ""
    proxy_headers: Mapping[str, str] = {}
    body: bytes = b""
