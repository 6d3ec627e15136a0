"""Values that cannot be meant are refused with the key that is wrong, before anything reaches a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.harness.helm import CHART, Helm, HelmFailed, documents, only


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dataPlane.replica=3", "at '/dataPlane': additional properties 'replica' not allowed"),
        ("dataplane.replicas=3", "additional properties 'dataplane' not allowed"),
        ("store.auth.pasword=x", "at '/store/auth': additional properties 'pasword' not allowed"),
        ("dataPlane.replicas=many", "at '/dataPlane/replicas': got string, want integer"),
        ("dataPlane.drain.grace=60", "at '/dataPlane/drain/grace': got number, want string"),
        ("dataPlane.drain.grace=1h", "at '/dataPlane/drain/grace': '1h' does not match pattern"),
        ("dataPlane.service.type=Loadbalancer", "at '/dataPlane/service/type': value must be one of 'ClusterIP'"),
        ("image.pullPolicy=always", "at '/image/pullPolicy': value must be one of 'Always'"),
        ("dataPlane.port=70000", "at '/dataPlane/port': maximum: got 70,000, want 65,535"),
        ("operator.replicas=0", "at '/operator/replicas': minimum: got 0, want 1"),
        ("dataPlane.image.digest=abc", "at '/dataPlane/image/digest': 'abc' does not match pattern"),
        ("gateway.name=My_Gateway", "at '/gateway/name': 'My_Gateway' does not match pattern"),
        ("networkPolicy.enabled=yes", "at '/networkPolicy/enabled': got string, want boolean"),
        ("store.url=http://redis", "at '/store/url': 'http://redis' does not match pattern"),
        ("store.url=redis://me:secret@redis", "store.url must not hold a login: put the password into a Secret"),
        ("redis.embedded.enabled=true,store.url=redis://x", "redis.embedded.enabled and store.url"),
        ("store.auth.username=me", "store.auth.username needs store.auth.existingSecret"),
        ("dataPlane.tls.clientCa.secretName=ca", "dataPlane.tls.clientCa needs dataPlane.tls.existingSecret"),
        ("dataPlane.snapshot.api=false,dataPlane.snapshot.mounted=false", "a data plane needs one of them"),
        ("dataPlane.audit.whenFull=deny", "need dataPlane.audit.file"),
        (
            "dataPlane.terminationGracePeriodSeconds=30",
            "is 30, but preStopSeconds, drain.delay and",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(helm: Helm, setting: str, message: str) -> None:
    with pytest.raises(HelmFailed) as refused:
        helm.render(more=["--set", setting])
    assert message in str(refused.value)


def test_every_object_of_the_schema_refuses_unknown_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_ones = [path for path, node in _nodes(schema, "") if "properties" in node and node.get("additionalProperties")]
    assert open_ones == []
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert _keys(values, schema) == []


def test_service_monitors_where_their_kind_is_missing_are_refused_with_what_to_do(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match="install the Prometheus operator first"):
        helm.run("template", "tidegate", CHART, "--set", "monitoring.serviceMonitor.enabled=true")


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ("", 5 + 60 + 15),
        ("dataPlane.drain.delay=1500ms,dataPlane.drain.grace=2m,dataPlane.drain.preStopSeconds=3", 2 + 120 + 3 + 15),
        ("dataPlane.terminationGracePeriodSeconds=600", 600),
    ],
)
def test_a_pod_is_given_the_time_to_drain(helm: Helm, settings: str, seconds: int) -> None:
    objects = documents(helm.render(more=["--set", settings] if settings else []))
    plane = only(objects, "Deployment", "tidegate-dataplane")
    assert plane["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


def test_callers_do_not_reach_the_admin_port_through_their_service(helm: Helm) -> None:
    objects = documents(helm.render())
    service = only(objects, "Service", "tidegate")["spec"]
    admin = only(objects, "Service", "tidegate-dataplane-admin")["spec"]
    assert [port["name"] for port in service["ports"]] == ["http"]
    assert (admin["clusterIP"], [port["name"] for port in admin["ports"]]) == ("None", ["admin"])
    assert admin["selector"] == service["selector"]


def test_an_upgrade_of_the_chart_alone_restarts_no_pod(helm: Helm, tmp_path: Path) -> None:
    newer = tmp_path / "tidegate"
    newer.mkdir()
    for each in CHART.iterdir():
        if each.name != "Chart.yaml":
            (newer / each.name).symlink_to(each)
    about = yaml.safe_load((CHART / "Chart.yaml").read_text()) | {"version": "9.9.9"}
    (newer / "Chart.yaml").write_text(yaml.safe_dump(about))
    example = CHART / "examples" / "production.yaml"

    def pods(chart: Path) -> dict[str, Any]:
        found = documents(helm.render(example, chart=chart))
        return {each["metadata"]["name"]: each["spec"]["template"] for each in found if each["kind"] == "Deployment"}

    assert pods(newer) == pods(CHART)


def _nodes(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        return [found for index, each in enumerate(node) for found in _nodes(each, f"{path}/{index}")]
    if not isinstance(node, dict):
        return []
    return [(path, node), *(found for key, each in node.items() for found in _nodes(each, f"{path}/{key}"))]


def _keys(values: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Keys of the schema that values.yaml does not show, and so nobody finds; `global` belongs to parent charts."""
    missing = []
    for name, below in schema.get("properties", {}).items():
        if name not in (values or {}):
            missing += [f"{path}.{name}"] if name != "global" else []
        else:
            missing += _keys(values[name], below, f"{path}.{name}")
    return missing
