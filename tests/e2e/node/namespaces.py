"""Runs something in namespaces of its own: mounts, network, processes. Its end is the end of all that it started.

The kernel takes down what lives in a namespace when its first process ends, however that happens: no mount, interface,
route, packet filter rule or process outlives it, and a pod has no interface that leads out. What the kernel does not
divide (cgroups, a few settings) is put back by name afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from e2e.node.footprint import container_cgroups, read_sysctls, remove_cgroups, take, write_sysctls
from e2e.node.inside import ROOT_VARIABLE

_GRACE = 45.0
"""Seconds to end in order after Ctrl-C."""

_FOREIGN = ("kubelet", "containerd", "dockerd", "k3s", "kube-proxy")
_PROGRAMS = ("setpriv", "unshare", "nft", "runc", "ip")
_STATE = Path("/run/tidegate-e2e.json")
"""While a node runs: its folder, and the machine's settings as they were."""

_PLUGIN = Path("/usr/lib/cni/bridge")


class Refused(RuntimeError):
    """The machine is not one to do this on; the message says why. Nothing was changed."""


def check_machine() -> None:
    """Raise Refused unless this may run here."""
    if os.geteuid() != 0:
        raise Refused("a node needs root: try sudo make e2e")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    if missing or not _PLUGIN.exists():
        raise Refused(
            f"{', '.join(missing) or _PLUGIN} not found. On Debian: apt-get install runc containernetworking-plugins"
            " nftables iptables conntrack iproute2"
        )
    running = sorted({name for name in _names_of_processes() if name in _FOREIGN})
    if running:
        raise Refused(f"{', '.join(running)} runs on this machine: this is a node already, and stays as it is")
    if any(_busy(folder) for folder in container_cgroups()):
        raise Refused("containers of somebody else run on this machine (cgroup k8s.io)")


def run_apart(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run `command` in new namespaces, and then undo and check; returns its exit code, or 1 when something was left.

    A folder for the node is made and named to it in TIDEGATE_NODE_ROOT. Ctrl-C ends it in order, a second one at once.
    Raises Refused.
    """
    check_machine()
    with _alone():
        clean_up()
        root = Path(tempfile.mkdtemp(prefix="tdg-"))
        _STATE.write_text(json.dumps({"root": str(root), "settings": read_sysctls()}))
        before = take(root)
        code = 1
        try:
            own = {ROOT_VARIABLE: str(root), "TMPDIR": str(root)}
            code = _supervise(command, {**os.environ, **(environment or {}), **own})
        finally:
            clean_up()
            left = take(root).added_to(before)
            for line in left:
                print(f"left behind: {line}", file=sys.stderr)
        if not left:
            print("nothing is left: no process, mount, interface, packet filter table, cgroup, folder or setting")
        return code or int(bool(left))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two of these on one machine would take each other's leavings away. Raises Refused."""
    path = _STATE.with_suffix(".lock")
    with path.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another run of make e2e is at work on this machine; wait for its end") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def clean_up() -> None:
    """Put back what no namespace holds: after this run, or at the start of the next when this one was killed."""
    remove_cgroups()
    if _STATE.exists():
        state = json.loads(_STATE.read_text())
        write_sysctls(state["settings"])
        shutil.rmtree(state["root"], ignore_errors=True)
        _STATE.unlink()


def _supervise(command: Sequence[str], environment: Mapping[str, str]) -> int:
    # Both ties are the kernel's: when this process is killed, so is unshare, and with it the first process inside.
    apart = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]
    inside = [sys.executable, "-m", "e2e.node.inside", *command]
    process = subprocess.Popen([*apart, *inside], env=dict(environment), start_new_session=True)
    asked = False
    try:
        while True:
            try:
                return process.wait(_GRACE if asked else None)
            except KeyboardInterrupt:
                if asked:
                    return 130
                asked = True
                for child in _children(process.pid):
                    os.kill(child, signal.SIGINT)
            except subprocess.TimeoutExpired:
                return 130
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        _wait_gone()


def _wait_gone() -> None:
    """`unshare` may end a moment before the kernel has killed the last process of the namespace."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_busy(folder) for folder in container_cgroups()):
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _busy(folder: Path) -> bool:
    try:
        return bool((folder / "cgroup.procs").read_text().strip())
    except OSError:
        return False


def _names_of_processes() -> list[str]:
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(path.read_text().strip())
        except OSError:
            continue
    return names
