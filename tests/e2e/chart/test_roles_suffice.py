"""Under names of its own, the programs of a release run with its flags and its roles, and with no more than those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import status_of
from cluster.harness.gateway import program
from cluster.harness.helm import CHART, Helm, documents, only
from cluster.harness.processes import ChildProcess, free_port, wait_for_http, wait_until
from cluster.harness.rest import ApiError

_NAMESPACE = "tidegate-default"  # looks like a name that the roles replace
_SETTINGS = "fullnameOverride=gate,gateway.name=edge,platformNamespace=platform,admission.webhook.enabled=true"


def test_operator_and_data_plane_run_with_what_the_release_gives_them(
    server: ApiServer, helm: Helm, tmp_path: Path
) -> None:
    server.ensure_namespace(_NAMESPACE)
    helm.run("install", "edge", CHART, "--namespace", _NAMESPACE, "--set", _SETTINGS)
    objects = documents(helm.run("get", "manifest", "edge", "--namespace", _NAMESPACE))
    traffic, admin, health, webhook = (f"127.0.0.1:{free_port()}" for _ in range(4))
    plane = _command(
        server,
        objects,
        "gate-dataplane",
        {"--listen": traffic, "--admin-listen": admin, "--snapshot-dir": None, "--credentials-dir": None},
    )
    operator = _command(server, objects, "gate-operator", {"--health-listen": health, "--webhook-listen": webhook})
    operator += ["--data-plane-url", f"http://{admin}", "--identity", "the-operator"]
    with (
        ChildProcess("dataplane", plane, log=tmp_path / "dataplane.log") as serving,
        ChildProcess("operator", operator, log=tmp_path / "operator.log") as leading,
    ):
        wait_for_http(f"http://{health}/-/ready", process=leading, deadline=60.0)
        wait_for_http(f"http://{admin}/-/ready", process=serving, deadline=60.0)
        assert status_of(f"http://{admin}")["gateway"] == "edge"
        wait_until(lambda: _trusted(server), what="the webhook's authority", process=leading, deadline=60.0)
        said = leading.log_text() + serving.log_text()
    assert "orbidden" not in said
    with (
        server.rest(server.token_for(_NAMESPACE, "gate-dataplane")) as stranger,
        pytest.raises(ApiError, match="forbidden"),
    ):
        stranger.list(f"/api/v1/namespaces/{_NAMESPACE}/secrets")


def _command(
    server: ApiServer, objects: list[dict[str, Any]], name: str, replaced: dict[str, str | None]
) -> list[str | Path]:
    """What that Deployment runs, at other addresses and under its ServiceAccount; None leaves a flag out."""
    pod = only(objects, "Deployment", name)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pairs = [argument.partition("=") for argument in container["args"]]
    args: list[str | Path] = []
    for flag, equals, value in pairs:
        wanted = replaced.get(flag, value)
        if wanted is not None:
            args.append(f"{flag}{equals}{wanted}")
    kubeconfig = server.kubeconfig_for_serviceaccount(_NAMESPACE, pod["serviceAccountName"])
    return [program("tidegate-dataplane" if "dataplane" in name else "tidegate"), *args, "--kubeconfig", kubeconfig]


def _trusted(server: ApiServer) -> bool:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gate-webhook"
    return all("caBundle" in each["clientConfig"] for each in server.admin.get(path)["webhooks"])
