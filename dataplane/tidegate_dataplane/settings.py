"""What a data plane is told when it starts. Nothing here changes while it runs; that is what snapshots are for."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tidegate_dataplane.authenticate.rate import FAILURES_PER_ADDRESS, FAILURES_PER_PREFIX, Rate
from tidegate_dataplane.store.settings import StoreSettings
from tidegate_dataplane.transport.proxies import TrustedProxies


class Address(NamedTuple):
    """Where to listen. An empty host is every interface; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `HOST:PORT`, `[v6]:PORT` or `:PORT`; raises ValueError that says so."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT, for example 0.0.0.0:8080")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r}: write an IPv6 address in brackets, for example [::]:8080")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_TRAFFIC = Address("127.0.0.1", 8080)
_ADMIN = Address("127.0.0.1", 9090)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a caller or provider may cost us: sizes in bytes, times in seconds.

    A head must arrive within `head_seconds`, a whole body within `body_seconds`; a caller that takes nothing of its
    answer for `stall_seconds` is cut off. Callers who have not proved who they are may take `strangers_bytes` together.
    """

    head_bytes: int = 64 * 1024
    head_count: int = 128
    head_seconds: float = 15.0
    body_bytes: int = 16 * 1024 * 1024
    body_seconds: float = 30.0
    stall_seconds: float = 60.0
    keep_alive_seconds: int = 75
    response_bytes: int = 32 * 1024 * 1024
    strangers_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What happens when more is asked than can be served; see docs/how-to/pressure.md.

    So many calls begin in one turn of the event loop; at most `process_queue` wait for theirs, `backend_queue` for each
    backend with a limit, `quota_queue` for each counter of a quota. A call of Normal priority waits for a turn and for
    a backend `wait_seconds` at most: Low half of it, High twice, Critical four times.
    """

    calls_per_turn: int = 16
    process_queue: int = 4096
    backend_queue: int = 256
    quota_queue: int = 1024
    wait_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """How to reach the API server. `token_file` is read again as it rotates; `token` is fixed and never shown."""

    url: str
    ca_file: Path | None = None
    token_file: Path | None = None
    token: str = field(default="", repr=False)
    ca_data: str = ""
    client_certificate: bytes = field(default=b"", repr=False)
    client_key: bytes = field(default=b"", repr=False)


class WhenFull(StrEnum):
    """What happens to calls when their audit records cannot be written: the records are lost and counted, or the calls
    are refused."""

    DROP = "drop"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How the audit log is kept. 0 means without limit. `host` names this machine, in Kubernetes the pod.

    A file is rotated once it has `max_bytes`; `max_files` rotated ones are kept. `key_file` holds the key of the chain.
    """

    key_file: Path | None = None
    max_bytes: int = 0
    max_files: int = 0
    fsync: bool = False
    when_full: WhenFull = WhenFull.DROP
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The files that callers are served TLS with; each is read again when it changes.

    `certificate` and `key` are PEM, the certificate with its chain. Without `client_ca` no client certificate is asked
    for. With `client_crl_required`, one whose issuer has no current revocation list among `client_crls` is refused.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_crls: tuple[Path, ...] = ()
    client_crl_required: bool = False
    client_certificates_required: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        client_ca = () if self.client_ca is None else (self.client_ca,)
        return (self.certificate, self.key, *client_ca, *self.client_crls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything `tidegate-dataplane` can be told; see its `--help`. Times in seconds.

    `audit` is a file, `-` for standard output, or empty for none. `namespace` is where the operator publishes.
    `journal` is where the use of shared limits is kept over restarts; `replicas` is how many data planes there are, 0:
    as many as the shared store knows. With `forwarded_certificates`, the `proxies` pass on callers' certificates in
    X-Forwarded-Client-Cert.
    """

    gateway: str = "default"
    namespace: str = "tidegate-system"
    listen: Address = _TRAFFIC
    admin_listen: Address = _ADMIN
    api: ApiAccess | None = None
    snapshot_dir: Path | None = None
    credentials_dir: Path | None = None
    snapshot_file: Path | None = None
    audit: str = ""
    audit_options: AuditOptions = AuditOptions()
    drain_delay: float = 0.0
    grace: float = 30.0
    limits: Limits = Limits()
    pressure: Pressure = Pressure()
    tls: TlsSettings | None = None
    proxies: TrustedProxies | None = None
    forwarded_certificates: bool = False
    failures_per_address: Rate = FAILURES_PER_ADDRESS
    failures_per_prefix: Rate = FAILURES_PER_PREFIX
    journal: Path | None = None
    replicas: int = 0
    store: StoreSettings | None = None
