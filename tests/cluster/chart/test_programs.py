"""What the chart tells the programs, they understand; what they may do is what the cluster tests let them do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from click import Context

from cluster.harness.helm import CHART, Helm, documents, only
from tidegate_dataplane.main import _parser, read_settings
from tidegate_dataplane.settings import Address, Settings
from tidegate_operator.cli import app, register

_EVERYTHING = Path(__file__).with_name("everything.yaml")
_VALUES = [*sorted((CHART / "examples").glob("*.yaml")), _EVERYTHING]
# Where a pod has them from itself, or a chart has no use for them.
_NO_VALUE_OF_THE_DATA_PLANE = {
    "--help",
    *("--kubeconfig", "--api-server", "--api-ca", "--api-token-file", "--snapshot-file"),
    *("--tls-certificate", "--tls-key"),  # --tls-dir has both
}
# It finds the data planes by their Service, and has its name from POD_NAME.
_NO_VALUE_OF_THE_OPERATOR = {"--kubeconfig", "--data-plane-url", "--identity"}


@pytest.mark.parametrize("values", _VALUES, ids=lambda path: path.stem)
def test_the_data_plane_takes_its_flags(helm: Helm, values: Path) -> None:
    settings = _settings(_args(helm, values, "dataplane"))
    assert settings.listen == Address("::" if values == _EVERYTHING else "0.0.0.0", 8080)
    assert (settings.store is None) == (settings.journal is None)


def test_every_flag_of_the_data_plane_has_a_value(helm: Helm) -> None:
    """A new flag of the program wants a value of the chart, or a line above."""
    flags = {flag for action in _parser()._actions for flag in action.option_strings if flag.startswith("--")}
    given = {flag.partition("=")[0] for flag in _args(helm, _EVERYTHING, "dataplane")}
    assert flags - given == _NO_VALUE_OF_THE_DATA_PLANE


def test_the_values_say_what_the_settings_become(helm: Helm) -> None:
    settings = _settings(_args(helm, _EVERYTHING, "dataplane"))
    assert settings.store is not None
    assert settings.tls is not None
    assert settings.proxies is not None
    assert (settings.gateway, settings.namespace) == ("edge", "tidegate-system")
    assert (settings.drain_delay, settings.grace) == (1.5, 120.0)
    assert (settings.store.username, settings.store.deadline, settings.replicas) == ("tidegate", 0.08, 6)
    assert (settings.limits.body_bytes, settings.audit_options.max_bytes) == (33554432, 104857600)
    assert (settings.tls.client_certificates_required, settings.tls.client_crl_required) == (True, True)


@pytest.mark.parametrize("values", _VALUES, ids=lambda path: path.stem)
def test_the_operator_takes_its_flags(helm: Helm, values: Path) -> None:
    parameters = _operator_parameters(_args(helm, values, "operator"))
    assert parameters["data_plane_service"] == _admin_service(helm, values)
    assert Address.parse(parameters["health_listen"]).port == 8081


def test_every_flag_of_the_operator_has_a_value(helm: Helm) -> None:
    """As above."""
    flags = {flag for parameter in _operator().params for flag in parameter.opts}
    given = {flag.partition("=")[0] for flag in _args(helm, _EVERYTHING, "operator")}
    assert flags - given == _NO_VALUE_OF_THE_OPERATOR


def test_the_operator_is_told_of_the_cluster(helm: Helm) -> None:
    parameters = _operator_parameters(_args(helm, _EVERYTHING, "operator"))
    facts = {name: parameters[name] for name in ("cluster_name", "cloud", "region", "jurisdiction", "cluster_label")}
    assert facts == {
        "cluster_name": "1",
        "cloud": "gcp",
        "region": "europe-west4",
        "jurisdiction": "EU",
        "cluster_label": ["answer=42", "tier=edge"],
    }


def test_rendered_roles_are_those_of_the_cluster_tests(helm: Helm) -> None:
    tested = [each for file in sorted((CHART / "rbac").glob("*.yaml")) for each in documents(file.read_text())]
    kinds = {each["kind"] for each in tested}
    webhook = ("--set", "admission.webhook.enabled=true")
    rendered = [each for each in documents(helm.render(more=webhook)) if each["kind"] in kinds]
    assert _by_name(rendered) == _by_name(tested)


def test_roles_follow_the_names_of_the_release(helm: Helm) -> None:
    objects = documents(helm.render(_EVERYTHING, release="other", namespace="tidegate-default"))
    role = only(objects, "Role", "gate-dataplane")
    assert role["metadata"]["namespace"] == "tidegate-default"
    names = role["rules"][0]["resourceNames"]
    assert {"tidegate-edge", "tidegate-edge-00", "tidegate-edge-l63"} <= set(names)
    assert all(name.startswith("tidegate-edge") for name in names)
    binding = only(objects, "RoleBinding", "gate-dataplane")
    assert [(each["name"], each["namespace"]) for each in binding["subjects"]] == [("the-plane", "tidegate-default")]
    issuers = [each for each in objects if each["metadata"]["name"] == "gate-key-issuer" and "subjects" in each]
    assert [(each["kind"], each["metadata"]["namespace"]) for each in issuers] == [
        ("RoleBinding", "team-a"),
        ("RoleBinding", "team-b"),
    ]
    assert {each["subjects"][0]["name"] for each in issuers} == {"the-operator"}


def test_a_data_plane_mounts_what_it_may_read(helm: Helm) -> None:
    objects = documents(helm.render(_EVERYTHING))
    sources = next(
        each["projected"]["sources"] for each in _pod(objects, "dataplane")["volumes"] if "projected" in each
    )
    mounted = [source["configMap"]["name"] for source in sources]
    readable = only(objects, "Role", "gate-dataplane")["rules"][0]["resourceNames"]
    # A second index in the same folder would hide the first.
    assert mounted == [name for name in readable if name != "tidegate-edge-canary"]
    assert all(source["configMap"]["optional"] for source in sources)


def test_every_mount_has_its_volume_and_every_volume_its_mount(helm: Helm) -> None:
    for values in _VALUES:
        for each in documents(helm.render(values)):
            if each["kind"] == "Deployment":
                pod = each["spec"]["template"]["spec"]
                mounts = sorted(mount["name"] for box in pod["containers"] for mount in box["volumeMounts"])
                assert mounts == sorted(volume["name"] for volume in pod["volumes"]), values.name


def test_crds_are_kept_when_the_release_goes(helm: Helm) -> None:
    for each in documents(helm.render()):
        if each["kind"] == "CustomResourceDefinition":
            assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
            source = yaml.safe_load((CHART.parents[1] / "crds" / f"{each['spec']['names']['plural']}.yaml").read_text())
            assert each["spec"] == source["spec"]


def _args(helm: Helm, values: Path, component: str) -> list[str]:
    (container,) = _pod(documents(helm.render(values)), component)["containers"]
    arguments: list[str] = container["args"]
    return [argument.replace("$(TIDEGATE_STORE_URL)", "rediss://redis:6379") for argument in arguments]


def _pod(objects: list[dict[str, Any]], component: str) -> dict[str, Any]:
    (found,) = [
        each
        for each in objects
        if each["kind"] == "Deployment" and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def _admin_service(helm: Helm, values: Path) -> str:
    (name,) = [
        each["metadata"]["name"]
        for each in documents(helm.render(values))
        if each["kind"] == "Service" and [port["name"] for port in each["spec"]["ports"]] == ["admin"]
    ]
    return str(name)


def _settings(args: list[str]) -> Settings:
    options: argparse.Namespace = _parser().parse_args(args)
    if options.snapshot_dir is None:
        options.snapshot_dir = Path("/outside/of/a/pod")
    return read_settings(options)


def _operator_parameters(args: list[str]) -> dict[str, Any]:
    assert args[0] == "operator"
    parameters: dict[str, Any] = _operator().make_context("operator", args[1:]).params
    return parameters


def _operator() -> Any:
    """The subcommand, as the program itself finds it."""
    register.register(app)
    group: Any = typer.main.get_command(app)
    return group.resolve_command(Context(group), ["operator"])[1]


def _by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """Without what Helm adds: labels, and that no token is mounted where a pod does not ask for it."""
    found = {}
    for each in objects:
        metadata = {key: value for key, value in each["metadata"].items() if key != "labels"}
        rest = {key: value for key, value in each.items() if key != "automountServiceAccountToken"}
        found[each["kind"], metadata["name"]] = {**rest, "metadata": metadata}
    return found
