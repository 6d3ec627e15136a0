"""The kubelet of the node, and kube-proxy beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cluster.harness.processes import ChildProcess, free_port, stop_all
from e2e.node.control_plane import ControlPlane
from e2e.node.layout import GATEWAY, NODE_NAME, POD_NETWORK, Layout


class Kubelet:
    """kubelet and kube-proxy. Both are configured as anywhere, but for the cgroup settings that let them run inside of
    somebody else's machine."""

    def __init__(self, layout: Layout, binaries: Path) -> None:
        self._layout = layout
        self._binaries = binaries
        self._processes: list[ChildProcess] = []

    def start(self, control_plane: ControlPlane) -> None:
        """Start both; the node is Ready some seconds later."""
        kubeconfig = control_plane.kubeconfig(control_plane.node_token)
        config = self._write("kubelet.yaml", self._kubelet(control_plane))
        self._start(
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={self._layout.kubelet}",
            f"--cert-dir={self._layout.kubelet / 'pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={GATEWAY}",
        )
        proxy = self._write("kube-proxy.yaml", _kube_proxy(control_plane.kubeconfig(control_plane.proxy_token)))
        self._start("kube-proxy", f"--config={proxy}", f"--hostname-override={NODE_NAME}")

    def stop(self) -> None:
        """Stop both. Containers go on until they are killed."""
        stop_all(self._processes)

    def _start(self, name: str, *flags: str) -> None:
        log = self._layout.logs / f"{name}.log"
        self._processes.append(ChildProcess(name, [self._binaries / name, *flags], log=log))

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = self._layout.root / name
        path.write_text(yaml.safe_dump(config))
        return path

    def _kubelet(self, control_plane: ControlPlane) -> dict[str, Any]:
        layout = self._layout
        resolver = layout.root / "resolv.conf"
        resolver.write_text("")  # there is no DNS in the namespace, and none of the machine's is reached
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": GATEWAY,
            "port": free_port(),
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": free_port(),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(control_plane.ca)},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{layout.socket}",
            # The machine's own cgroups may be of version 1, and its hierarchy is not ours to arrange.
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "makeIPTablesUtilChains": False,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "resolvConf": str(resolver),
            "podLogsDir": str(layout.logs / "pods"),
            "volumePluginDir": str(layout.kubelet / "plugins"),
            "maxPods": 60,
        }


def _kube_proxy(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_NETWORK,
        "bindAddress": GATEWAY,
        "healthzBindAddress": f"127.0.0.1:{free_port()}",
        "metricsBindAddress": f"127.0.0.1:{free_port()}",
        # 0: leave the machine's settings of connection tracking alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"syncPeriod": "30s", "minSyncPeriod": "0s"},
    }
