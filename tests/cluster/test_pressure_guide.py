"""The objects of docs/how-to/pressure.md are taken by a real API server, and its admission rule keeps the upper two
priorities for the platform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.kubectl import Kubectl, KubectlFailed
from cluster.harness.namespaces import remove_namespace
from cluster.harness.processes import wait_until

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pressure.md"
RULES = "validatingadmissionpolicies,validatingadmissionpolicybindings"
OBJECTS = [
    one for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL) for one in yaml.safe_load_all(block)
]


def of_kind(prefix: str) -> str:
    return yaml.safe_dump_all([one for one in OBJECTS if one["kind"].startswith(prefix)])


def consumer(priority: str | None, *, namespace: str) -> str:
    spec = {} if priority is None else {"priority": priority}
    return yaml.safe_dump(
        {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "AIConsumer",
            "metadata": {"name": "probe", "namespace": namespace},
            "spec": spec,
        }
    )


@pytest.fixture
def ready(api_server: ApiServer, kubectl: Kubectl, crds: list[str]) -> Iterator[Kubectl]:
    """The namespaces of the guide; its admission rule is gone afterwards, for it holds for the whole server."""
    assert "aiconsumers.tidegate.dev" in crds
    for namespace in ("team-a", SYSTEM_NAMESPACE):
        api_server.ensure_namespace(namespace)
    yield kubectl
    kubectl.delete(RULES, "tidegate-priorities")
    kubectl.delete("aiconsumer", "probe", namespace=SYSTEM_NAMESPACE)
    remove_namespace(api_server.admin, "team-a")


def refused(kubectl: Kubectl, manifest: str) -> bool:
    try:
        kubectl.apply(manifest)
    except KubectlFailed as failed:
        return "Only the platform namespace" in str(failed)
    return False


def test_the_guides_objects_are_taken(ready: Kubectl) -> None:
    applied = ready.apply(of_kind("AI"))
    assert applied.count("serverside-applied") == 3


def test_the_guides_rule_keeps_the_upper_priorities_for_the_platform(ready: Kubectl) -> None:
    ready.apply(of_kind("Validating"))
    critical = consumer("Critical", namespace="team-a")
    wait_until(lambda: refused(ready, critical), what="the admission rule to be in force", deadline=30)
    assert refused(ready, consumer("High", namespace="team-a"))
    for priority in ("Low", "Normal", None):
        assert not refused(ready, consumer(priority, namespace="team-a"))
    assert not refused(ready, consumer("Critical", namespace=SYSTEM_NAMESPACE))
