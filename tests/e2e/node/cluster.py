"""A whole cluster of one genuine node. It must be entered inside of namespaces of its own: see namespaces.py."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.harness.binaries import find_node_tools
from cluster.harness.kubectl import Kubectl
from cluster.harness.processes import wait_until
from e2e.node.containerd import Containerd
from e2e.node.control_plane import ControlPlane
from e2e.node.kubelet import Kubelet
from e2e.node.layout import NODE_NAME, Layout
from e2e.node.network import make_network


class Cluster:
    """Use as a context manager. `seconds` says how long each part took to come up."""

    def __init__(self, root: Path) -> None:
        """`root` is an empty folder with a short path. Raises ToolsMissing when the binaries are not built."""
        binaries = find_node_tools()
        self.layout = Layout(root)
        self.layout.make()
        self.containerd = Containerd(self.layout, binaries)
        self.control_plane = ControlPlane(binaries)
        self.kubelet = Kubelet(self.layout, binaries)
        self.kubectl = Kubectl(self.control_plane.admin_kubeconfig)
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the node first. Containers that are left end with their process namespace."""
        self.kubelet.stop()
        self.containerd.stop()
        self.control_plane.stop()

    def import_images(self, *archives: Path) -> None:
        """Take in OCI archives; nothing is ever pulled."""
        began = time.monotonic()
        for archive in archives:
            self.containerd.import_image(archive)
        self.seconds["images imported"] = time.monotonic() - began

    def _start(self) -> None:
        began = time.monotonic()
        make_network(self.layout)
        self.control_plane.start()
        self._note("API server ready", began)
        self.control_plane.start_controllers()
        self._note("controllers started", began)
        self.containerd.start()
        self.containerd.import_pause()
        self._note("containerd started", began)
        self.kubelet.start(self.control_plane)
        wait_until(self._node_ready, what="the node to become Ready", deadline=90.0)
        self._note("node Ready", began)

    def _note(self, what: str, began: float) -> None:
        self.seconds[what] = time.monotonic() - began

    def _node_ready(self) -> bool:
        nodes = self.control_plane.admin.list("/api/v1/nodes")
        conditions = [
            condition
            for node in nodes
            if node["metadata"]["name"] == NODE_NAME
            for condition in node["status"].get("conditions", [])
        ]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
