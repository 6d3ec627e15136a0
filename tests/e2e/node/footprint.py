"""What a node leaves on a machine: taken before and after, the two must be the same."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CONTAINER_CGROUP = "k8s.io"
"""Below each hierarchy: where containerd puts containers when the kubelet names no parent."""

# The kubelet sets these for the whole machine.
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)
_FOLDERS = (
    "/etc/cni",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/run/nri",
    "/run/xtables.lock",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)


@dataclass(frozen=True)
class Footprint:
    """What is there. `processes` are those that know of the node's folder."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]
    folders: frozenset[str]
    sysctls: frozenset[str]

    def added_to(self, before: Footprint) -> list[str]:
        """What was not there before, each with its sort."""
        return [
            f"{field.name}: {item}"
            for field in fields(self)
            for item in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]


def take(root: Path) -> Footprint:
    """Of this machine now; `root` is the node's folder."""
    return Footprint(
        processes=frozenset(_processes(root)),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        links=frozenset(link["ifname"] for link in json.loads(_run("ip", "-json", "link", "show"))),
        tables=frozenset(_run("nft", "list", "tables").splitlines()),
        cgroups=frozenset(str(path) for path in container_cgroups()),
        folders=frozenset(path for path in _FOLDERS if os.path.lexists(path)),
        sysctls=frozenset(f"{name}={value}" for name, value in read_sysctls().items()),
    )


def container_cgroups() -> list[Path]:
    """The cgroups of containers, the innermost first."""
    tops = [path for path in CGROUPS.glob(f"*/{CONTAINER_CGROUP}") if path.is_dir()]
    tops += [path for path in (CGROUPS / CONTAINER_CGROUP,) if path.is_dir()]
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def read_sysctls() -> dict[str, str]:
    """What the kubelet would change, as it is."""
    paths = {name: Path("/proc/sys") / name for name in SYSCTLS}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def write_sysctls(values: dict[str, str]) -> None:
    """Put back what was read; what is as it was is not written."""
    now = read_sysctls()
    for name, value in values.items():
        if now.get(name) != value:
            (Path("/proc/sys") / name).write_text(value)


def remove_cgroups() -> None:
    """Remove the cgroups of containers that have ended. One that is in use stays, and the check tells of it."""
    for path in container_cgroups():
        try:
            path.rmdir()
        except OSError:
            continue


def _processes(root: Path) -> list[str]:
    mark = str(root).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes()
            known = mark in text or mark in (folder / "environ").read_bytes()
        except OSError:
            continue
        if known and int(folder.name) != os.getpid():
            found.append(f"{folder.name} {text.replace(bytes(1), b' ').decode(errors='replace')[:100]}")
    return found


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
