"""What a data plane is told about its shared store."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tidegate_dataplane.store.protocol import DEADLINE_SECONDS


class Mode(Enum):
    """How Redis or Valkey is run."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the shared store is and how to log in. Files are read again at each new connection.

    `addresses` are (host, port): the server, the sentinels, or some nodes of the cluster. `master` is the name that
    the sentinels know the master by. `deadline` is in seconds, for one exchange.
    """

    mode: Mode
    addresses: tuple[tuple[str, int], ...]
    master: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    deadline: float = DEADLINE_SECONDS

    def __str__(self) -> str:
        """For logs: no secrets."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        return f"{hosts} ({self.mode.value}{', TLS' if self.tls else ''})"
