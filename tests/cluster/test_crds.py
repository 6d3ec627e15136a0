"""The CRDs as a real API server takes them: what kubectl shows, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.harness.kubectl import Kubectl, KubectlFailed

_QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart"
_KINDS = ("aibackend", "aiconsumer", "aipolicy", "airoute", "quota")

pytestmark = pytest.mark.usefixtures("crds")


def _example(kind: str) -> dict[str, Any]:
    """The object of that kind from the quickstart."""
    documents = [doc for file in _QUICKSTART.glob("*.yaml") for doc in yaml.safe_load_all(file.read_text())]
    found: dict[str, Any] = next(doc for doc in documents if doc["kind"].lower() == kind)
    return found


def _versions(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    items = kubectl.get_json("tidegate", namespace=namespace)["items"]
    return {item["kind"]: item["metadata"]["resourceVersion"] for item in items}


@pytest.mark.parametrize("server_side", [True, False], ids=["server-side", "client-side"])
def test_the_quickstart_is_accepted_and_listed_by_category(kubectl: Kubectl, namespace: str, server_side: bool) -> None:
    kubectl.apply(_QUICKSTART, namespace=namespace, server_side=server_side)
    listed = kubectl.run("get", "tidegate", "--namespace", namespace, "--output", "name").split()
    assert sorted(name.split(".")[0] for name in listed) == sorted(_KINDS)
    before = _versions(kubectl, namespace)
    kubectl.apply(_QUICKSTART, namespace=namespace, server_side=server_side)
    # A second apply of the same files is no change, so that Git tools see no drift.
    assert _versions(kubectl, namespace) == before


@pytest.mark.parametrize("kind", _KINDS)
def test_kubectl_explains_every_field(kubectl: Kubectl, kind: str) -> None:
    text = kubectl.run("explain", kind, "--recursive=false")
    assert "<no description>" not in text
    assert "<no description>" not in kubectl.run("explain", f"{kind}.spec")
    assert "<no description>" not in kubectl.run("explain", f"{kind}.status.conditions")


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("aibackend", ["provider"], "OpenAI", "spec.endpoint is required unless spec.provider is Mock"),
        ("aibackend", ["provider"], "Closed", 'spec.provider: Unsupported value: "Closed"'),
        ("airoute", ["targets", 0, "weight"], 0, "at least one target needs a weight above 0"),
        ("airoute", ["pathPrefix"], "v1", "spec.pathPrefix: Invalid value"),
        ("airoute", ["timeouts"], "60s", 'unknown field "spec.timeouts"'),
        ("aiconsumer", ["credentials", "apiKeys", 0, "sha256"], "0" * 64, "exactly one of secretRef and sha256"),
        ("aipolicy", ["targetRefs", 0, "kind"], "AIRoute", "kind AIRoute needs a name"),
        ("quota", ["limits", 0, "window", "sliding"], "24h", "exactly one of calendar and sliding"),
    ],
)
def test_what_is_wrong_is_refused_in_words_that_name_the_field(
    kubectl: Kubectl, namespace: str, kind: str, path: list[str | int], value: object, message: str
) -> None:
    manifest = _example(kind)
    place = manifest["spec"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(KubectlFailed) as refused:
        kubectl.apply(yaml.safe_dump(manifest), namespace=namespace, server_side=False)
    assert message in str(refused.value)
    assert kubectl.get_json(kind, namespace=namespace)["items"] == []
