"""containerd of the node: configuration, start, images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster.harness.processes import ChildProcess, wait_until
from e2e.node.layout import PAUSE_IMAGE, Layout
from e2e.node.network import PLUGINS

_CONFIG = """version = 3
root = "{folder}/root"
state = "{folder}/state"

[grpc]
address = "{socket}"

[ttrpc]
address = "{socket}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

# The capability to lower a score is often missing where tests run; without this, each sandbox would fail for it.
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{cni}/net.d"
"""

_NAMESPACE = "k8s.io"  # in which the kubelet's containers and images stand


class Containerd:
    """Runs between `start` and `stop`; `stop` leaves containers running, as containerd does."""

    def __init__(self, layout: Layout, binaries: Path) -> None:
        self._layout = layout
        self._binaries = binaries
        self._process: ChildProcess | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises as `wait_until`."""
        config = self._layout.containerd / "config.toml"
        runc = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        config.write_text(
            _CONFIG.format(
                folder=self._layout.containerd,
                socket=self._layout.socket,
                cni=self._layout.cni,
                pause=PAUSE_IMAGE,
                plugins=PLUGINS,
                runc=runc,
            )
        )
        # It looks for its own shim first on PATH.
        env = {"PATH": f"{self._binaries}:{os.environ['PATH']}:/usr/sbin:/sbin"}
        self._process = ChildProcess(
            "containerd",
            [self._binaries / "containerd", "--config", config],
            log=self._layout.logs / "containerd.log",
            env=env,
        )
        wait_until(self._answers, what="starting containerd", deadline=30.0, process=self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(grace=5.0)

    def import_image(self, archive: Path) -> None:
        """Take in the image of an OCI archive. Raises CalledProcessError."""
        self.ctr("images", "import", str(archive))

    def import_pause(self) -> None:
        """Take in an image of the one static program that holds a pod's namespaces."""
        with tempfile.TemporaryDirectory(prefix="tidegate-pause-") as folder:
            archive = Path(folder) / "pause.tar"
            write_static_image(archive, self._binaries / "pause", PAUSE_IMAGE)
            self.import_image(archive)

    def ctr(self, *arguments: str) -> str:
        """Run ctr in the kubelet's namespace; returns its output. Raises CalledProcessError."""
        command: Sequence[str] = [str(self._binaries / "ctr"), "-a", str(self._layout.socket), "-n", _NAMESPACE]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout

    def _answers(self) -> bool:
        try:
            self.ctr("version")
        except subprocess.CalledProcessError:
            return False
        return True


def write_static_image(archive: Path, program: Path, name: str) -> None:
    """Write a docker archive of one layer with one program, which is its entry point."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program, arcname=program.name)
    content = layer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for member, data in (("config.json", config), ("layer.tar", content), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
