"""`tidegate` as somebody on call runs it: with a kubeconfig that has the role tidegate-releaser and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import program
from cluster.harness.install import SYSTEM_NAMESPACE

_BINDINGS = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/rolebindings"


class OnCall:
    """A person who may roll back and freeze."""

    def __init__(self, server: ApiServer) -> None:
        server.token_for(SYSTEM_NAMESPACE, "on-call")
        server.admin.ensure(
            _BINDINGS,
            {
                "metadata": {"name": "on-call"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "tidegate-releaser",
                },
                "subjects": [{"kind": "ServiceAccount", "name": "on-call", "namespace": SYSTEM_NAMESPACE}],
            },
        )
        self._kubeconfig: Path = server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, "on-call")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command; returns what it wrote. Fails the test when it ends with another exit code."""
        command = [str(program("tidegate")), *arguments, "--kubeconfig", str(self._kubeconfig)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def revisions(self) -> Any:
        """`tidegate revisions --output json`."""
        return json.loads(self.run("revisions", "--output", "json"))
