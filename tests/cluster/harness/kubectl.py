"""kubectl as a user would run it, for what tests want to prove about the command line or apply in bulk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cluster.harness.binaries import find_tools


class KubectlFailed(RuntimeError):
    """kubectl ended with an error; the message is what it wrote to stderr."""


class Kubectl:
    """Runs kubectl under one kubeconfig; its cache stays beside that file, away from the user's home."""

    def __init__(self, kubeconfig: Path, *, binary: Path | None = None) -> None:
        self._binary = binary or find_tools().kubectl
        self._env = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(kubeconfig.parent / "kubectl-cache"),
        }

    def run(self, *args: str, stdin: str | None = None, timeout: float = 60.0, directory: Path | None = None) -> str:
        """Run `kubectl ARGS`, in `directory` if given, and return its stdout. Raises KubectlFailed with its stderr."""
        ended = subprocess.run(
            [str(self._binary), *args],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            env=self._env,
            cwd=directory,
            timeout=timeout,
            check=False,
        )
        if ended.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(args)}: {ended.stderr.strip()}")
        return ended.stdout

    def apply(self, manifest: str | Path, *, namespace: str | None = None, server_side: bool = True) -> str:
        """Apply YAML text, or a file or a folder (a Path); returns what kubectl printed."""
        args = ["apply", *(["--server-side", "--force-conflicts"] if server_side else []), *_namespace(namespace)]
        if isinstance(manifest, Path):
            return self.run(*args, "-f", str(manifest))
        return self.run(*args, "-f", "-", stdin=manifest)

    def delete(self, *args: str, namespace: str | None = None) -> str:
        """`kubectl delete ARGS`; what is missing already is no error."""
        return self.run("delete", "--ignore-not-found", *_namespace(namespace), *args)

    def get_json(self, *args: str, namespace: str | None = None) -> Any:
        """`kubectl get ARGS -o json`, decoded."""
        return json.loads(self.run("get", "-o", "json", *_namespace(namespace), *args))


def _namespace(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []
