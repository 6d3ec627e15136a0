"""From a platform engineer's YAML to a token of a real provider that is let in: `tidegate serve` and Dex."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cluster.harness.callers import Reply, ask, status_of
from cluster.harness.processes import ChildProcess, wait_until
from oidc.dex import GATEWAY, OTHER, Dex

NAMESPACE = "team-a"
EMAIL = "kilgore@kilgore.trout"


@dataclass
class Serving:
    """A gateway whose routes are `signed`, `opaque` and `air-gapped`, by how they know tokens."""

    url: str
    admin_url: str
    folder: Path

    def ask(self, model: str, token: str) -> Reply:
        return ask(self.url, model=model, key=token)


@pytest.fixture
def dex() -> Iterator[Dex]:
    with Dex() as running:
        yield running


@pytest.fixture
def serving(dex: Dex, tmp_path: Path) -> Iterator[Serving]:
    folder = tmp_path / "resources"
    folder.mkdir()
    (folder / "gateway.yaml").write_text(yaml.safe_dump_all(resources(dex)))
    command: list[str | Path] = [Path(sys.executable).with_name("tidegate"), "serve", folder]
    command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    process = ChildProcess("serve", command, log=tmp_path / "log", env={"COLUMNS": "200", "NO_COLOR": "1"})
    try:
        shown = re.compile(r"serving (http://\S+?:\d+)[\s\S]*?(http://\S+?:\d+)")
        wait_until(lambda: shown.search(process.log_text()) is not None, what="serving", deadline=30, process=process)
        found = shown.search(process.log_text())
        assert found is not None
        yield Serving(found[1], found[2], folder)
    finally:
        process.stop()


def resources(dex: Dex) -> list[dict[str, object]]:
    tls = {"caBundle": dex.ca_bundle}
    mapping = {"name": "token.claims.email"}
    signed = {
        "methods": ["JWT"],
        "jwt": [{"name": "dex", "issuer": dex.issuer, "audiences": [GATEWAY.name], "tls": tls, "claims": mapping}],
    }
    gapped = {
        "methods": ["JWT"],
        "jwt": [
            {
                "name": "dex",
                "issuer": dex.issuer,
                "audiences": [GATEWAY.name],
                "jwksSecretRef": {"name": "dex-keys", "key": "jwks"},
                "claims": mapping,
            }
        ],
    }
    opaque = {
        "methods": ["Introspection"],
        "introspection": [
            {
                "name": "dex",
                "endpoint": dex.introspection_endpoint,
                "clientId": GATEWAY.name,
                "clientSecretRef": {"name": "dex-client", "key": "secret"},
                "audiences": [GATEWAY.name],
                "cache": "0s",
                "tls": tls,
                "claims": {"name": "token.claims.sub"},
            }
        ],
    }
    found = [
        resource("AIBackend", "models", provider="Mock", mock={"reply": "The gate is open."}),
        secret("dex-client", secret=GATEWAY.secret),
        secret("dex-keys", jwks=dex.jwks()),
    ]
    for name, authentication in (("signed", signed), ("opaque", opaque), ("air-gapped", gapped)):
        found.append(resource("AIRoute", name, models=[name], targets=[{"backendRef": {"name": "models"}}]))
        target = [{"kind": "AIRoute", "name": name}]
        found.append(resource("AIPolicy", name, targetRefs=target, authentication=authentication))
    return found


def resource(kind: str, name: str, **spec: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def secret(name: str, **data: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def test_each_way_to_know_a_token_works_from_yaml(dex: Dex, serving: Serving) -> None:
    token, stranger = dex.token(), dex.token(OTHER)
    for model in ("signed", "opaque", "air-gapped"):
        answer = serving.ask(model, token)
        assert answer.status == 200, (model, answer.body)
        refused = serving.ask(model, stranger)
        assert (refused.status, refused.code) == (401, "invalid_token"), (model, refused.body)
    report = status_of(serving.admin_url)
    assert {(each["kind"], each["error"]) for each in report["identityProviders"]} == {
        ("JWT", ""),
        ("Introspection", ""),
    }
    assert GATEWAY.secret not in str(report)
    dex.stop()
    # What is asked anew each time needs Dex; keys that were fetched, or came from a Secret, do not.
    assert [serving.ask(model, token).status for model in ("signed", "opaque", "air-gapped")] == [200, 503, 200]


def test_a_new_key_needs_a_new_secret_where_nothing_is_fetched(dex: Dex, serving: Serving) -> None:
    assert [serving.ask(model, dex.token()).status for model in ("signed", "air-gapped")] == [200, 200]
    dex.forget_keys()
    token = dex.token()
    assert serving.ask("signed", token).status == 200
    refused = serving.ask("air-gapped", token)
    assert (refused.status, refused.code) == (401, "method_not_accepted")
    (serving.folder / "gateway.yaml").write_text(yaml.safe_dump_all(resources(dex)))
    wait_until(lambda: serving.ask("air-gapped", token).status == 200, what="the new key set")
