"""The life of a release: installed, upgraded, rolled back, removed, installed again; nobody's objects are harmed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.helm import CHART, Helm, HelmFailed
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.kubectl import Kubectl
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from e2e.chart.previous import VERSION, previous_chart

_TRIAL = CHART / "examples" / "trial.yaml"
_ROUTES = "/apis/tidegate.dev/v1alpha1/namespaces/team/airoutes"
_MEBIBYTE = 1024 * 1024
# What comes and goes by itself.
_PASSING = ("events", "events.events.k8s.io", "leases.coordination.k8s.io")


def test_the_life_of_a_release(server: ApiServer, kubectl: Kubectl, helm: Helm, tmp_path: Path) -> None:
    server.ensure_namespace("team")
    before = _everything(kubectl)

    _helm(helm, "install", previous_chart(tmp_path))
    kept = _create(server, _route("kept", "old"))
    with pytest.raises(ApiError, match="timeout"):
        _create(server, _route("early", "early", timeout="30s"))
    password = _password(kubectl)
    crd = _crd(kubectl)

    _helm(helm, "upgrade", CHART)
    assert _crd(kubectl)["metadata"]["uid"] == crd["metadata"]["uid"]
    assert _image(kubectl, "tidegate-operator") != f"localhost/tidegate-operator:{VERSION}"
    wait_until(lambda: _takes(server, _route("new", "new", timeout="30s")), what="the new field")
    assert server.admin.get(f"{_ROUTES}/kept")["metadata"]["uid"] == kept["metadata"]["uid"]
    assert _password(kubectl) == password

    helm.run("rollback", "tidegate", "1", "--namespace", SYSTEM_NAMESPACE)
    assert _image(kubectl, "tidegate-operator") == f"localhost/tidegate-operator:{VERSION}"
    assert _password(kubectl) == password
    assert {each["metadata"]["name"] for each in server.admin.list(_ROUTES)} == {"kept", "new"}
    _helm(helm, "upgrade", CHART)
    assert server.admin.get(f"{_ROUTES}/new")["spec"]["timeout"] == "30s"

    helm.run("uninstall", "tidegate", "--namespace", SYSTEM_NAMESPACE)
    left = _everything(kubectl) - before
    assert {name.partition("/")[0] for name in left} == {
        "customresourcedefinition.apiextensions.k8s.io",
        "apiservice.apiregistration.k8s.io",
        "airoute.tidegate.dev",
    }
    assert server.admin.get(f"{_ROUTES}/kept")["metadata"]["uid"] == kept["metadata"]["uid"]

    # The same release takes up what it left.
    _helm(helm, "install", CHART)
    assert server.admin.get(f"{_ROUTES}/kept")["metadata"]["uid"] == kept["metadata"]["uid"]


def test_crds_that_somebody_applied_are_taken_over_when_it_is_asked_for(
    server: ApiServer, kubectl: Kubectl, helm: Helm
) -> None:
    kubectl.apply(CHART.parents[1] / "crds")
    with pytest.raises(HelmFailed, match="invalid ownership metadata"):
        _helm(helm, "install", CHART)
    helm.run("uninstall", "tidegate", "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found")
    _helm(helm, "install", CHART, "--take-ownership", "--force-conflicts")
    assert _crd(kubectl)["metadata"]["annotations"]["meta.helm.sh/release-name"] == "tidegate"


def test_a_second_gateway_stands_beside_the_first(server: ApiServer, kubectl: Kubectl, helm: Helm) -> None:
    _helm(helm, "install", CHART)
    more = ["--set", "gateway.name=edge,crds.install=false,admission.policies.enabled=false"]
    helm.run("install", "edge", CHART, "--namespace", SYSTEM_NAMESPACE, "--values", _TRIAL, *more)
    names = kubectl.run("get", "deployments", "-n", SYSTEM_NAMESPACE, "-o", "name").split()
    assert {"deployment.apps/tidegate-operator", "deployment.apps/edge-tidegate-operator"} <= set(names)
    helm.run("uninstall", "edge", "--namespace", SYSTEM_NAMESPACE)
    assert kubectl.run("get", "crd", "airoutes.tidegate.dev", "-o", "name")


@pytest.mark.parametrize("values", ["trial", "multi-cloud"])
def test_what_helm_keeps_of_a_release_is_far_from_its_limit(helm: Helm, kubectl: Kubectl, values: str) -> None:
    """A Secret holds at most 1 MiB, and Helm keeps the chart and the rendering in one."""
    file = CHART / "examples" / f"{values}.yaml"
    helm.run("install", "tidegate", CHART, "--namespace", SYSTEM_NAMESPACE, "--values", file)
    secret = kubectl.get_json("secret", "sh.helm.release.v1.tidegate.v1", namespace=SYSTEM_NAMESPACE)
    size = sum(len(base64.b64decode(value)) for value in secret["data"].values())
    print(f"{values}: {size} bytes")
    assert size < _MEBIBYTE / 3


def _helm(helm: Helm, verb: str, chart: Path, *more: str) -> str:
    return helm.run(verb, "tidegate", chart, "--namespace", SYSTEM_NAMESPACE, "--values", _TRIAL, *more)


def _route(name: str, model: str, **more: str) -> dict[str, Any]:
    spec = {"models": [model], "operations": ["Chat"], "targets": [{"backendRef": {"name": "mock"}}], **more}
    return {"apiVersion": "tidegate.dev/v1alpha1", "kind": "AIRoute", "metadata": {"name": name}, "spec": spec}


def _create(server: ApiServer, route: dict[str, Any]) -> Any:
    """Unknown fields are errors, as with kubectl; right after an installation the kind may not be served yet."""
    made: list[Any] = []

    def tried() -> bool:
        try:
            made.append(server.admin.create(f"{_ROUTES}?fieldValidation=Strict", route))
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    wait_until(tried, what="AIRoutes to be served")
    return made[0]


def _takes(server: ApiServer, route: dict[str, Any]) -> bool:
    try:
        _create(server, route)
    except ApiError as error:
        if "timeout" not in error.message:
            raise
        return False
    return True


def _crd(kubectl: Kubectl) -> Any:
    return kubectl.get_json("crd", "airoutes.tidegate.dev")


def _image(kubectl: Kubectl, name: str) -> str:
    deployment = kubectl.get_json("deployment", name, namespace=SYSTEM_NAMESPACE)
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def _password(kubectl: Kubectl) -> str:
    return str(kubectl.get_json("secret", "tidegate-redis", namespace=SYSTEM_NAMESPACE)["data"]["password"])


def _everything(kubectl: Kubectl) -> set[str]:
    """Every object there is, as KIND/NAME."""
    kinds = kubectl.run("api-resources", "--verbs=list", "-o", "name").split()
    listed = ",".join(kind for kind in kinds if kind not in _PASSING)
    return set(kubectl.run("get", listed, "--all-namespaces", "-o", "name").split())
