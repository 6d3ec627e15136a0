"""The network of the node: a bridge for its pods, in a network namespace that has no way out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from e2e.node.layout import BRIDGE, GATEWAY, POD_NETWORK, SERVICE_NETWORK, Layout

PLUGINS = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins lie."""


class NetworkRefused(RuntimeError):
    """This is not a namespace of our own; nothing was changed."""


def make_network(layout: Layout) -> None:
    """Bring up loopback and the bridge, and tell CNI of it. Raises NetworkRefused where other links exist."""
    _refuse_foreign_links()
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # Without a route, connecting to a Service fails before kube-proxy's rules see it.
    _ip("route", "add", SERVICE_NETWORK, "dev", BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _write_cni(layout)


def _refuse_foreign_links() -> None:
    links = {link["ifname"] for link in json.loads(_ip("-json", "link", "show"))}
    # ifb is what some kernels make in every new namespace.
    foreign = {name for name in links if name != "lo" and not name.startswith(("ifb", "sit", "tunl", "ip6tnl", "gre"))}
    if foreign:
        raise NetworkRefused(f"{', '.join(sorted(foreign))} is not ours: run the tests by `make e2e`")


def _write_cni(layout: Layout) -> None:
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.cni / "addresses"),
            "ranges": [[{"subnet": POD_NETWORK, "rangeStart": "10.231.0.10", "gateway": GATEWAY}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    conflist = {"cniVersion": "1.0.0", "name": "tidegate", "plugins": [bridge]}
    folder = layout.cni / "net.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "10-tidegate.conflist").write_text(json.dumps(conflist))


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
