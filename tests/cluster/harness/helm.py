"""The real Helm as a user would run it, with its caches and settings in a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.binaries import find_helm
from cluster.harness.install import SYSTEM_NAMESPACE

CHART = Path(__file__).resolve().parents[3] / "charts" / "tidegate"

# The CRDs are large, and libyaml reads them ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HelmFailed(RuntimeError):
    """Helm ended with an error; the message is what it wrote to stderr."""


class Helm:
    """Runs Helm, under `kubeconfig` where it needs a cluster. Raises ToolsMissing when it is not built."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None) -> None:
        """`folder` is for Helm's own files."""
        self._binary = find_helm()
        own = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._env = {**os.environ, **own, "KUBECONFIG": str(kubeconfig or folder / "none")}
        self._rendered: dict[tuple[str, ...], str] = {}

    def run(self, *args: str | Path, timeout: float = 90.0) -> str:
        """Run `helm ARGS` and return its stdout. Raises HelmFailed with its stderr."""
        ended = subprocess.run(
            [str(self._binary), *map(str, args)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._env,
            timeout=timeout,
            check=False,
        )
        if ended.returncode != 0:
            raise HelmFailed(f"helm {args[0]}: {ended.stderr.strip()}")
        return ended.stdout

    def render(
        self,
        *values: Path,
        chart: Path = CHART,
        release: str = "tidegate",
        namespace: str = SYSTEM_NAMESPACE,
        more: Iterable[str] = (),
    ) -> str:
        """What `helm template` prints, kept for the next who asks. It knows the kinds of the Prometheus operator."""
        flags = ["--namespace", namespace, "--api-versions", "monitoring.coreos.com/v1", *values_flags(*values), *more]
        command = ("template", release, str(chart), *flags)
        if command not in self._rendered:
            self._rendered[command] = self.run(*command)
        return self._rendered[command]


def values_flags(*values: Path) -> list[str]:
    """`--values FILE` for each."""
    return [word for file in values for word in ("--values", str(file))]


@cache
def documents(text: str) -> list[dict[str, Any]]:
    """The objects that a rendering holds; they are shared, so nobody may change them."""
    return [document for document in yaml.load_all(text, Loader=_Loader) if document]


def only(objects: Iterable[Mapping[str, Any]], kind: str, name: str) -> Any:
    """The one object of that kind and name. Raises ValueError when there is none, or are several."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found
