"""Where the real Kubernetes binaries lie. Nothing is built here: see build_tools.py."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

NAMES = ("kube-apiserver", "etcd", "kubectl")
MODULES = ("kubernetes", "etcd")
MODULES_DIR = Path(__file__).resolve().parents[1] / "tools"


class ToolsMissing(RuntimeError):
    """The binaries are not built; the message says how to get them."""


@dataclass(frozen=True)
class Tools:
    """Paths of the three programs."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path


def find_tools() -> Tools:
    """The binaries of KUBEBUILDER_ASSETS when that is set, else those of `make cluster-tools`.

    Raises ToolsMissing with the command that builds them.
    """
    folder = from_environment() or cache_root() / tools_key()
    missing = [name for name in NAMES if not os.access(folder / name, os.X_OK)]
    if missing:
        raise ToolsMissing(
            f"{', '.join(missing)} not found in {folder}. Run `make cluster-tools` (needs Go; five minutes,"
            " once), or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl."
        )
    return Tools(folder / "kube-apiserver", folder / "etcd", folder / "kubectl")


def from_environment() -> Path | None:
    """The folder that KUBEBUILDER_ASSETS names, as tests of other operators take it."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder).expanduser().resolve() if folder else None


def cache_root() -> Path:
    """Outside the checkout: $TIDEGATE_CACHE, else $XDG_CACHE_HOME/tidegate, else ~/.cache/tidegate; then tools/."""
    own = os.environ.get("TIDEGATE_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "tidegate"
    return base.expanduser() / "tools"


def pinned(module: str, dependency: str) -> str:
    """The version of `dependency` that tools/`module`/go.mod requires."""
    text = (MODULES_DIR / module / "go.mod").read_text()
    match = re.search(rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if match is None:
        raise ValueError(f"{MODULES_DIR / module / 'go.mod'} does not require {dependency}")
    return match[1]


def find_dex() -> Path:
    """The Dex of `make oidc-tools`. Raises ToolsMissing with that command."""
    path = cache_root() / dex_key() / "dex"
    if not os.access(path, os.X_OK):
        raise ToolsMissing(f"{path} not found. Run `make oidc-tools` (needs Go and a C compiler; 90 seconds, once).")
    return path


def find_toxiproxy() -> Path:
    """The Toxiproxy of `make redis-tools`. Raises ToolsMissing with that command."""
    path = cache_root() / toxiproxy_key() / "toxiproxy-server"
    if not os.access(path, os.X_OK):
        raise ToolsMissing(f"{path} not found. Run `make redis-tools` (needs Go; 15 seconds, once).")
    return path


def find_helm() -> Path:
    """The Helm of `make helm-tools`. Raises ToolsMissing with that command."""
    path = cache_root() / helm_key() / "helm"
    if not os.access(path, os.X_OK):
        raise ToolsMissing(f"{path} not found. Run `make helm-tools` (needs Go; two minutes, once).")
    return path


def find_argocd() -> Path:
    """The Argo CD of `make argocd-tools`: every part of it. Raises ToolsMissing with that command."""
    return _argocd_tool("argocd")


def find_kstatus() -> Path:
    """The program of tools/kstatus, of the same chore. Raises ToolsMissing."""
    return _argocd_tool("kstatus")


def find_node_tools() -> Path:
    """The folder of `make node-tools`: kubelet, containerd and so on. Raises ToolsMissing with that command."""
    folder = cache_root() / node_key()
    if not os.access(folder / "kubelet", os.X_OK):
        raise ToolsMissing(f"{folder} not found. Run `make node-tools` (needs Go; five minutes, once).")
    return folder


def _argocd_tool(name: str) -> Path:
    path = cache_root() / argocd_key() / name
    if not os.access(path, os.X_OK):
        raise ToolsMissing(f"{path} not found. Run `make argocd-tools` (needs Go; four minutes, once).")
    return path


KUBERNETES_VERSION = pinned("kubernetes", "k8s.io/kubernetes")
ETCD_VERSION = pinned("etcd", "go.etcd.io/etcd/server/v3")


DEX_VERSION = pinned("dex", "github.com/dexidp/dex")
TOXIPROXY_VERSION = pinned("toxiproxy", "github.com/Shopify/toxiproxy/v2")
ARGOCD_MODULES = ("argocd", "kstatus")
ARGOCD_VERSION = pinned("argocd", "github.com/argoproj/argo-cd/v3")
NODE_MODULES = ("kubernetes", "containerd", "pause")
CONTAINERD_VERSION = pinned("containerd", "github.com/containerd/containerd/v2")
HELM_VERSION = pinned("helm", "helm.sh/helm/v4")


def tools_key() -> str:
    """Names a build after its versions, the platform, and every pinned module."""
    return f"kubernetes-{KUBERNETES_VERSION}-etcd-{ETCD_VERSION}-{_built_from(MODULES)}"


def dex_key() -> str:
    """The same for Dex, which is built on its own, so that a new pin of one does not build the other anew."""
    return f"dex-{DEX_VERSION}-{_built_from(('dex',))}"


def toxiproxy_key() -> str:
    """The same for Toxiproxy."""
    return f"toxiproxy-{TOXIPROXY_VERSION}-{_built_from(('toxiproxy',))}"


def helm_key() -> str:
    """The same for Helm."""
    return f"helm-{HELM_VERSION}-{_built_from(('helm',))}"


def argocd_key() -> str:
    """The same for Argo CD and kstatus."""
    return f"argocd-{ARGOCD_VERSION}-{_built_from(ARGOCD_MODULES)}"


def node_key() -> str:
    """The same for the parts of a genuine node."""
    return f"node-{KUBERNETES_VERSION}-containerd-{CONTAINERD_VERSION}-{_built_from(NODE_MODULES)}"


def _built_from(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for module in modules:
        own = sorted(path.name for path in (MODULES_DIR / module).glob("*.go"))
        for name in ("go.mod", "go.sum", *own):
            digest.update((MODULES_DIR / module / name).read_bytes())
    return f"{platform.system().lower()}-{platform.machine().lower()}-{digest.hexdigest()[:8]}"
