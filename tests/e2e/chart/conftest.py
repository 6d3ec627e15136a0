"""A real API server with namespaces under Pod Security `restricted`, and the real Helm on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.helm import Helm
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.kubectl import Kubectl

_RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """One for each test: what a release leaves behind is part of what is looked at."""
    with ApiServer() as running:
        running.ensure_namespace(SYSTEM_NAMESPACE, _RESTRICTED)
        yield running


@pytest.fixture
def kubectl(server: ApiServer) -> Kubectl:
    return Kubectl(server.admin_kubeconfig)


@pytest.fixture
def helm(server: ApiServer) -> Helm:
    return Helm(server.directory / "helm", server.admin_kubeconfig)
