"""Keys that the operator makes: written once, replaced with an overlap, and told where they cannot be."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.objects import Manifest, custom, key_policy, mock_backend, path_of, route, secret
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from cluster.harness.system import System
from tidegate_dataplane.apikey import well_formed

_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
MONTHLY = {"rotateEvery": "30d", "overlap": "2d"}


def consumer(namespace: str, name: str = "app", *, generate: Any = MONTHLY, key: str = "token") -> Manifest:
    entry = {"name": "main", "secretRef": {"name": "app-key", "key": key}, "generate": generate}
    return custom("AIConsumer", namespace, name, {"credentials": {"apiKeys": [entry]}})


def tenant(namespace: str) -> list[Manifest]:
    models = [f"chat-{namespace}"]
    return [mock_backend(namespace), route(namespace, "chat", models=models), key_policy(namespace)]


def held(system: System, namespace: str) -> dict[str, str]:
    """The data of the Secret; empty when there is none."""
    try:
        found = system.admin.get(f"/api/v1/namespaces/{namespace}/secrets/app-key")
    except ApiError as error:
        if error.status == 404:
            return {}
        raise
    return {name: base64.b64decode(value).decode() for name, value in found.get("data", {}).items()}


def wait_for_key(system: System, namespace: str, *, other_than: str = "") -> dict[str, str]:
    wait_until(lambda: held(system, namespace).get("token", other_than) != other_than, what="a new key in the Secret")
    return held(system, namespace)


def put(system: System, namespace: str, **data: str | None) -> None:
    """Edit the Secret by hand; `_` in a name stands for `.` and None removes."""
    encoded = {
        name.replace("_", "."): None if value is None else base64.b64encode(value.encode()).decode()
        for name, value in data.items()
    }
    system.admin.patch(f"/api/v1/namespaces/{namespace}/secrets/app-key", {"data": encoded})


def ago(**past: float) -> str:
    return (datetime.now(UTC) - timedelta(**past)).strftime("%Y-%m-%dT%H:%M:%SZ")


def works(system: System, namespace: str, key: str) -> None:
    system.wait_for_status(200, key=key, model=f"chat-{namespace}")


def test_a_key_is_made_works_and_is_ours(system: System, namespace: str) -> None:
    asked = consumer(namespace)
    system.apply(*tenant(namespace), asked)
    data = wait_for_key(system, namespace)
    works(system, namespace, data["token"])
    assert well_formed(data["token"])
    assert set(data) == {"token", "token.issued-at"}
    system.wait_for(asked, "Ready")
    found = system.admin.get(f"/api/v1/namespaces/{namespace}/secrets/app-key")
    assert found["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "tidegate"}
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("AIConsumer", "app")
    assert owner["uid"] == system.get(asked)["metadata"]["uid"]
    assert [item["manager"] for item in found["metadata"]["managedFields"]] == ["tidegate-key-issuer"]


def test_an_old_key_is_replaced_and_works_until_the_overlap_ends(system: System, namespace: str) -> None:
    system.apply(*tenant(namespace), consumer(namespace))
    first = wait_for_key(system, namespace)["token"]
    put(system, namespace, **{"token_issued-at": ago(days=31)})
    second = wait_for_key(system, namespace, other_than=first)
    assert second["token.previous"] == first
    works(system, namespace, second["token"])
    works(system, namespace, first)
    put(system, namespace, **{"token_issued-at": ago(days=3)})
    system.wait_for_status(401, key=first, model=f"chat-{namespace}")
    wait_until(lambda: "token.previous" not in held(system, namespace), what="the previous key to be dropped")
    works(system, namespace, second["token"])


def test_a_restart_makes_nothing_anew_and_a_deleted_secret_is_made_again(system: System, namespace: str) -> None:
    system.apply(*tenant(namespace), consumer(namespace))
    first = wait_for_key(system, namespace)
    works(system, namespace, first["token"])
    system.operator.kill9()
    system.start_operator()
    system.wait_for(consumer(namespace), "Ready")
    again = consumer(namespace, generate={"rotateEvery": "31d"})
    system.apply(again)
    system.wait_for(again, "Ready")
    assert held(system, namespace) == first
    system.admin.delete(f"/api/v1/namespaces/{namespace}/secrets/app-key")
    second = wait_for_key(system, namespace, other_than=first["token"])
    assert "token.previous" not in second
    works(system, namespace, second["token"])
    system.wait_for_status(401, key=first["token"], model=f"chat-{namespace}")


def test_somebody_elses_key_is_never_overwritten(system: System, namespace: str) -> None:
    theirs = "their-own-key-for-this-application"
    asked = consumer(namespace)
    system.apply(*tenant(namespace), secret(namespace, "app-key", {"token": theirs, "other": "kept"}), asked)
    found = system.wait_for(asked, "ResolvedRefs", "False", reason="KeyNotIssued")
    (condition,) = [one for one in found["status"]["conditions"] if one["type"] == "ResolvedRefs"]
    assert "was not generated, so it is left alone: remove it there, or remove generate" in condition["message"]
    works(system, namespace, theirs)
    assert held(system, namespace) == {"token": theirs, "other": "kept"}
    put(system, namespace, token=None)
    made = wait_for_key(system, namespace)
    works(system, namespace, made["token"])
    assert made["other"] == "kept"
    assert "ownerReferences" not in system.admin.get(f"/api/v1/namespaces/{namespace}/secrets/app-key")["metadata"]
    system.wait_for(asked, "Ready")


def test_of_two_consumers_with_one_place_the_older_has_the_key(system: System, namespace: str) -> None:
    system.apply(*tenant(namespace), consumer(namespace, "a"))
    key = wait_for_key(system, namespace)["token"]
    younger = consumer(namespace, "b")
    system.apply(younger)
    system.wait_for(younger, "Ready", "False")
    works(system, namespace, key)
    assert held(system, namespace)["token"] == key


@pytest.fixture
def without_permission(system: System) -> Iterator[None]:
    """The operator may not write Secrets outside its namespace."""
    binding = system.admin.get(f"{_BINDINGS}/tidegate-key-issuer")
    system.admin.delete(f"{_BINDINGS}/tidegate-key-issuer")
    yield
    system.admin.ensure(
        _BINDINGS,
        {name: binding[name] for name in ("apiVersion", "kind", "roleRef", "subjects")}
        | {"metadata": {"name": "tidegate-key-issuer"}},
    )


def test_without_the_permission_the_status_says_what_to_do_and_all_else_works(
    system: System, namespace: str, without_permission: None
) -> None:
    asked = consumer(namespace)
    plain = "a-key-that-was-not-generated"
    other = custom(
        "AIConsumer",
        namespace,
        "other",
        {"credentials": {"apiKeys": [{"name": "main", "sha256": hashlib.sha256(plain.encode()).hexdigest()}]}},
    )
    system.apply(*tenant(namespace), asked)
    wait_until(lambda: "key-issuer.yaml" in _message(system, asked), what="a status that names the file", deadline=20.0)
    assert f"may not create and patch Secrets in namespace {namespace}" in _message(system, asked)
    system.apply(other)
    works(system, namespace, plain)
    assert held(system, namespace) == {}
    binding: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tidegate-key-issuer", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidegate-key-issuer"},
        "subjects": [{"kind": "ServiceAccount", "name": "tidegate-operator", "namespace": SYSTEM_NAMESPACE}],
    }
    system.admin.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
    made = wait_for_key(system, namespace)
    works(system, namespace, made["token"])
    system.wait_for(asked, "Ready")


def _message(system: System, manifest: Manifest) -> str:
    return str(system.condition(manifest, "ResolvedRefs").get("message", ""))


def test_no_key_is_logged_or_published(system: System, namespace: str) -> None:
    system.apply(*tenant(namespace), consumer(namespace))
    first = wait_for_key(system, namespace)["token"]
    put(system, namespace, **{"token_issued-at": ago(days=31)})
    second = wait_for_key(system, namespace, other_than=first)["token"]
    works(system, namespace, second)
    seen = [log.read_text(errors="replace") for log in sorted(system.directory.iterdir()) if log.is_file()]
    for kind in ("configmaps", "events"):
        seen += [str(item) for item in system.admin.list(f"/api/v1/{kind}")]
    seen.append(str(system.admin.get(path_of(consumer(namespace)))))
    assert sum(f"key main of AIConsumer {namespace}/app" in text for text in seen) > 0
    for key in (first, second):
        assert not any(key in text or base64.b64encode(key.encode()).decode() in text for text in seen)


def test_the_last_use_of_a_key_reaches_the_status_and_survives_restarts(system: System, namespace: str) -> None:
    asked = consumer(namespace)
    system.apply(*tenant(namespace), asked)
    key = wait_for_key(system, namespace)["token"]
    works(system, namespace, key)
    wait_until(lambda: _last_used(system, asked) != "", what="the last use in the status", deadline=30.0)
    used = _last_used(system, asked)
    (row,) = system.get(asked)["status"]["keys"]
    assert (row["name"], row["state"]) == ("main", "Active")
    assert system.get(asked)["status"]["lastUsedTime"] == used
    for number, plane in enumerate(system.planes):
        plane.process.kill9()
        system.start_plane(number)
    system.operator.kill9()
    system.start_operator()
    system.wait_ready()
    revoked = consumer(namespace)
    revoked["spec"]["credentials"]["apiKeys"][0]["revoked"] = True
    system.apply(revoked)
    system.wait_for_status(401, key=key, model=f"chat-{namespace}")
    wait_until(
        lambda: system.get(asked)["status"]["keys"][0]["state"] == "Revoked",
        what="Revoked in the status",
        deadline=20.0,
    )
    assert _last_used(system, asked) == used
    system.wait_for(revoked, "Ready")


def _state(system: System, manifest: Manifest) -> str:
    return str(system.get(manifest)["status"]["keys"][0]["state"])


def _last_used(system: System, manifest: Manifest) -> str:
    keys = system.get(manifest).get("status", {}).get("keys", [{}])
    return str(keys[0].get("lastUsedTime", ""))
