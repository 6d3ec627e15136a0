"""Names, addresses and folders of the genuine node. All of them exist only in namespaces of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "tidegate-e2e"
BRIDGE = "tidegate0"
GATEWAY = "10.231.0.1"
"""Of the pods, and the address of the node and of the API server for them."""

POD_NETWORK = "10.231.0.0/24"
SERVICE_NETWORK = "10.232.0.0/24"
API_SERVICE = "10.232.0.1"
"""The first address of the Service network is the API server's own Service (`kubernetes`)."""

PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True)
class Layout:
    """Where the parts of one node keep their files; everything lies under `root`, which is removed at the end."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def containerd(self) -> Path:
        return self.root / "containerd"

    @property
    def socket(self) -> Path:
        """Of containerd: a path that must stay short (108 bytes)."""
        return self.root / "c.sock"

    @property
    def kubelet(self) -> Path:
        return self.root / "kubelet"

    @property
    def cni(self) -> Path:
        return self.root / "cni"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.logs, self.containerd, self.kubelet, self.cni):
            folder.mkdir(parents=True, exist_ok=True)
