"""Where the API server is, from a pod's environment or a kubeconfig."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate_dataplane.source.api_access import ApiAccessError, from_kubeconfig, in_cluster

ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def config(**user: Any) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "UEVN"}}
        ],
        "users": [{"name": "u", "user": user}],
    }


def test_in_a_pod(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    found = in_cluster(ENVIRONMENT, tmp_path)
    assert found is not None
    assert (found.url, found.ca_file, found.token_file) == (
        "https://10.0.0.1:443",
        tmp_path / "ca.crt",
        tmp_path / "token",
    )
    assert in_cluster({**ENVIRONMENT, "KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).url == "https://[fd00::1]:443"  # type: ignore[union-attr]


def test_outside_of_a_pod(tmp_path: Path) -> None:
    assert in_cluster({}, tmp_path) is None
    assert in_cluster(ENVIRONMENT, tmp_path) is None


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_a_kubeconfig_with_a_token(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(write(config(token="t0k3n")))
    found = from_kubeconfig(path)
    assert (found.url, found.token, found.ca_data) == ("https://127.0.0.1:6443", "t0k3n", "PEM")
    assert "t0k3n" not in repr(found)


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    (tmp_path / "client.crt").write_text("CERT")
    path.write_text(
        json.dumps(config(**{"client-certificate": "client.crt", "client-key-data": "S0VZ", "tokenFile": "t"}))
    )
    found = from_kubeconfig(path)
    assert (found.client_certificate, found.client_key, found.token_file) == (b"CERT", b"KEY", tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "current-context"),
        (json.dumps(config(exec={"command": "aws"})), "exec"),
        (json.dumps({**config(), "users": []}), "user 'u'"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ApiAccessError, match=message):
        from_kubeconfig(path)
