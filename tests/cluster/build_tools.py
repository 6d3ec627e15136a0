"""Builds the real kube-apiserver, kubectl and etcd that the cluster tests run against, Dex for the token tests,
Toxiproxy for the tests of the shared ledger, Helm for those of the chart, and Argo CD.

    make cluster-tools
    make oidc-tools
    make redis-tools
    make helm-tools
    make argocd-tools

The versions are pinned, with the checksums of every module, by tools/*/go.mod and go.sum; the go
command fetches and verifies them. The binaries lie outside the checkout, in a folder that is named
after what went into them, so that one build serves every checkout and a changed pin is a new folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.harness.binaries import (
    ARGOCD_MODULES,
    ARGOCD_VERSION,
    HELM_VERSION,
    KUBERNETES_VERSION,
    MODULES,
    MODULES_DIR,
    NODE_MODULES,
    argocd_key,
    cache_root,
    dex_key,
    from_environment,
    helm_key,
    node_key,
    tools_key,
    toxiproxy_key,
)

Report = Callable[[str], None]

_REPORT_EVERY = 3.0
"""Seconds between two lines of progress."""

_INSTALL_GO = "Install Go {version} or newer from https://go.dev/dl/ (or your system's packages) and try again."


class BuildFailed(RuntimeError):
    """The tools could not be built; the message says what to do."""


@dataclass(frozen=True)
class Tool:
    """One binary: the folder under tools/ that pins it, its Go package, and how it is built.

    `cgo` needs a compiler, `tags` are Go's. `toolchain` is the Go that builds it, fetched by the go command if it is
    not the own one.
    """

    name: str
    module: str
    package: str
    ldflags: str = ""
    cgo: bool = False
    toolchain: str = ""
    tags: str = ""


# Without the version stamped in, clients cannot parse what /version answers.
_VERSION_PACKAGE = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]
_KUBERNETES_LDFLAGS = " ".join(
    f"-X {_VERSION_PACKAGE}.{variable}={value}"
    for variable, value in (("gitVersion", KUBERNETES_VERSION), ("gitMajor", _MAJOR), ("gitMinor", _MINOR))
)

TOOLS = (
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Tool("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", _KUBERNETES_LDFLAGS),
    Tool("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", _KUBERNETES_LDFLAGS),
)

# Its SQLite is C.
DEX = Tool("dex", "dex", "github.com/dexidp/dex/cmd/dex", cgo=True)

TOXIPROXY = Tool("toxiproxy-server", "toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server")


HELM = Tool("helm", "helm", "helm.sh/helm/v4/cmd/helm", f"-X helm.sh/helm/v4/internal/version.version={HELM_VERSION}")

_ARGOCD_GO = "go1.27.0"
_ARGOCD_STAMP = f"-X github.com/argoproj/argo-cd/v3/common.version={ARGOCD_VERSION.removeprefix('v')}"
ARGOCD = (
    Tool("argocd", "argocd", "github.com/argoproj/argo-cd/v3/cmd", _ARGOCD_STAMP, toolchain=_ARGOCD_GO),
    Tool("kstatus", "kstatus", ".", toolchain=_ARGOCD_GO),
)

_CONTAINERD_TAGS = "no_btrfs,no_devmapper,no_zfs"  # file systems whose headers a builder need not have
_CONTAINERD_PARTS = ("containerd", "containerd-shim-runc-v2", "ctr")
NODE = (
    *(
        Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_LDFLAGS)
        for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    ),
    *(
        Tool(name, "containerd", f"github.com/containerd/containerd/v2/cmd/{name}", tags=_CONTAINERD_TAGS)
        for name in _CONTAINERD_PARTS
    ),
    Tool("pause", "pause", "."),
)


def ensure_tools(report: Report) -> Path:
    """The folder with the three binaries, built first when it is not there. Safe to run twice at once.

    Raises BuildFailed with what to do next.
    """
    given = from_environment()
    if given is not None:
        report(f"using KUBEBUILDER_ASSETS: {given}")
        return given
    return _ensure(tools_key(), TOOLS, MODULES, "about five minutes on two cores", report)


def ensure_dex(report: Report) -> Path:
    """Dex, built first when it is not there. Safe to run twice at once. Raises BuildFailed with what to do next."""
    return _ensure(dex_key(), (DEX,), (DEX.module,), "about 90 seconds on two cores", report) / DEX.name


def ensure_toxiproxy(report: Report) -> Path:
    """Toxiproxy, built first when it is not there. Safe to run twice at once. Raises BuildFailed with what to do."""
    folder = _ensure(toxiproxy_key(), (TOXIPROXY,), (TOXIPROXY.module,), "about 15 seconds on two cores", report)
    return folder / TOXIPROXY.name


def ensure_helm(report: Report) -> Path:
    """Helm, built first when it is not there. Safe to run twice at once. Raises BuildFailed with what to do next."""
    return _ensure(helm_key(), (HELM,), (HELM.module,), "about two minutes on two cores", report) / HELM.name


def ensure_argocd(report: Report) -> Path:
    """The folder with Argo CD and kstatus, built first when they are not there. Raises BuildFailed with what to do."""
    return _ensure(argocd_key(), ARGOCD, ARGOCD_MODULES, "about five minutes on two cores", report)


def ensure_node(report: Report) -> Path:
    """The folder with what a node and the rest of a control plane need, built first when it is not there."""
    return _ensure(node_key(), NODE, NODE_MODULES, "about five minutes on two cores", report)


def _ensure(key: str, tools: Sequence[Tool], modules: Sequence[str], time_needed: str, report: Report) -> Path:
    target = cache_root() / key
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target.with_name(f".{target.name}.lock"), report):
        if not target.is_dir():
            _check_go(modules, next((tool.toolchain for tool in tools), ""))
            _check_compiler(tools)
            report(f"building {', '.join(tool.name for tool in tools)} with Go, once: {time_needed}")
            _build_all(tools, target, report)
    return target


def _build_all(tools: Sequence[Tool], target: Path, report: Report) -> None:
    prefix = f".{target.name}.partial-"
    # What an interrupted build left behind; the lock says that nobody works in there now.
    for left in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        for tool in tools:
            _build(tool, partial, report)
        partial.chmod(0o755)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(tool: Tool, into: Path, report: Report) -> None:
    start = time.monotonic()
    command = ["go", "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", f"-s -w {tool.ldflags}".strip(), "-tags", tool.tags, "-o", str(into / tool.name)]
    command.append(tool.package)
    process = subprocess.Popen(
        command,
        cwd=MODULES_DIR / tool.module,
        env=_go_environment(cgo=tool.cgo, toolchain=tool.toolchain),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    lines = _Lines(process)
    try:
        while process.poll() is None:
            lines.drain(_REPORT_EVERY)
            report(f"  {tool.name:<15} {_clock(start)}  {lines.summary()}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        lines.close()
    if process.returncode != 0:
        raise BuildFailed(f"building {tool.name} failed:\n{lines.errors()}")
    report(f"  {tool.name:<15} {_clock(start)}  done, {(into / tool.name).stat().st_size / 1e6:.0f} MB")


class _Lines:
    """What `go build -v` says: a line for each module it fetches and each package it compiles."""

    _PROGRESS = re.compile(r"go: downloading (\S+) \S+|[\w.~/-]+")

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._all: list[str] = []
        self._fetched = 0
        self._compiled = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._process.stderr is not None:
            for line in self._process.stderr:
                self._queue.put(line.rstrip())
        self._queue.put(None)

    def drain(self, seconds: float) -> None:
        """Take in lines for so long, or until the program closes its output."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._queue.get(timeout=left)
            except queue.Empty:
                return
            if line is None:
                self._process.wait()
                return
            self._take(line)

    def _take(self, line: str) -> None:
        self._all.append(line)
        if line.startswith("go: downloading "):
            self._fetched += 1
        elif self._PROGRESS.fullmatch(line):
            self._compiled += 1

    def close(self) -> None:
        self._thread.join()
        while not self._queue.empty():
            line = self._queue.get()
            if line is not None:
                self._take(line)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def summary(self) -> str:
        if self._compiled:
            return f"{self._compiled} packages compiled"
        return f"{self._fetched} modules fetched" if self._fetched else "linking or reading the cache"

    def errors(self, last: int = 40) -> str:
        return "\n".join([line for line in self._all if not self._PROGRESS.fullmatch(line)][-last:])


def _check_compiler(tools: Sequence[Tool]) -> None:
    names = [tool.name for tool in tools if tool.cgo]
    if names and all(shutil.which(compiler) is None for compiler in (os.environ.get("CC", "cc"), "gcc", "clang")):
        raise BuildFailed(f"{', '.join(names)} needs a C compiler. Install gcc (or set CC) and try again.")


def _check_go(modules: Sequence[str], toolchain: str) -> None:
    if shutil.which("go") is None:
        raise BuildFailed(f"Go is missing. {_INSTALL_GO.format(version=_wanted_go(modules))}")
    for module in modules:
        # Inside the module the go command itself compares versions, and fetches a newer toolchain if it may.
        check = subprocess.run(
            ["go", "version"],
            cwd=MODULES_DIR / module,
            env=_go_environment(toolchain=toolchain),
            capture_output=True,
            text=True,
            check=False,
        )
        if check.returncode != 0:
            raise BuildFailed(f"{check.stderr.strip()}\n{_INSTALL_GO.format(version=_wanted_go(modules))}")


def _wanted_go(modules: Sequence[str]) -> str:
    texts = [(MODULES_DIR / module / "go.mod").read_text() for module in modules]
    found = [match[1] for text in texts if (match := re.search(r"^go (\S+)$", text, re.MULTILINE))]
    return max(found, key=lambda version: [int(part) for part in version.split(".")])


def _go_environment(*, cgo: bool = False, toolchain: str = "") -> dict[str, str]:
    # A user's GOFLAGS (-mod=vendor, tags) or workspace must not leak into what is pinned here.
    pinned = {"GOTOOLCHAIN": toolchain} if toolchain else {}
    return {**os.environ, "CGO_ENABLED": str(int(cgo)), "GOFLAGS": "", "GOWORK": "off", **pinned}


@contextlib.contextmanager
def lock(path: Path, report: Report) -> Iterator[None]:
    """Hold the lock file `path`; tells of the wait every few seconds."""
    with path.open("w") as held:
        start = time.monotonic()
        said = -_REPORT_EVERY
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - start - said >= _REPORT_EVERY:
                    said = time.monotonic() - start
                    report(f"  another build of the same tools is running; waiting {_clock(start)}")
                time.sleep(0.2)
        yield


def _clock(start: float) -> str:
    seconds = int(time.monotonic() - start)
    return f"{seconds // 60}:{seconds % 60:02d}"


def main() -> int:
    """Build what is missing and print where it is on stdout; progress goes to stderr.

    The argument `dex` means Dex, `toxiproxy` Toxiproxy, `helm` Helm, `argocd` Argo CD, `node` the parts of a node.
    """
    ensures = {"dex": ensure_dex, "toxiproxy": ensure_toxiproxy, "helm": ensure_helm, "argocd": ensure_argocd}
    ensures["node"] = ensure_node
    ensure = ensures.get("".join(sys.argv[1:]), ensure_tools)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        print(ensure(report))
    except BuildFailed as error:
        report(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        report("interrupted; what was compiled stays in Go's cache, so the next try is quicker")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
