"""Where connections go: scheme, host, port, and how the server proves who it is."""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin in the sense of RFC 6454. Equal origins share a pool of connections.

    `tls` carries the trust anchors and verification (always on when built by `from_url`); the server name sent
    and verified is `host`. None means plain TCP.
    """

    scheme: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "authority", _authority(self.scheme, self.host, self.port))

    @classmethod
    def from_url(cls, url: str, *, ca_file: str | None = None, ca_data: str | None = None) -> tuple[Self, bytes]:
        """Return the origin of `url` and its path without a trailing slash (b"" for the root).

        `ca_file` or `ca_data` (PEM) replaces the system's trust anchors. Raises ValueError for a URL that cannot be an
        endpoint, and OSError or ssl.SSLError when `ca_file` cannot be read or the PEM holds no certificate.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"endpoint {url!r}: the scheme must be http or https")
        if parts.username is not None or parts.password is not None:
            raise ValueError("an endpoint must not carry a user name or password; use a credential instead")
        if parts.query or parts.fragment:
            raise ValueError(f"endpoint {url!r}: a query or fragment cannot be part of an endpoint")
        if not parts.hostname:
            raise ValueError(f"endpoint {url!r}: the host is missing")
        path = parts.path.rstrip("/")
        if not all("\x21" <= character <= "\x7e" for character in path):
            raise ValueError(f"endpoint {url!r}: the path must be visible ASCII characters; percent-encode others")
        tls = _tls_context(ca_file, ca_data) if parts.scheme == "https" else None
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
        if port == 0:
            raise ValueError(f"endpoint {url!r}: 0 is not a port")
        return cls(parts.scheme, _ascii_host(parts.hostname), port, tls), path.encode("ascii")


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    return host.encode("idna").decode("ascii")


def _authority(scheme: str, host: str, port: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    return (name if port == _DEFAULT_PORTS.get(scheme) else f"{name}:{port}").encode("ascii")


def _tls_context(ca_file: str | None, ca_data: str | None) -> ssl.SSLContext:
    """The content is the key, so that a rotated CA file is picked up and an unchanged one keeps its pool."""
    pem = ca_data if ca_file is None else Path(ca_file).read_text("utf-8", errors="replace")
    # Bundles carry the authorities' names as comments, in any script; ssl takes ASCII only.
    return _cached_tls_context(None if pem is None else pem.encode("ascii", "replace").decode("ascii"))


@lru_cache(maxsize=64)
def _cached_tls_context(ca_pem: str | None) -> ssl.SSLContext:
    """One context for the same anchors: a context holds the whole trust store, a megabyte or more."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
