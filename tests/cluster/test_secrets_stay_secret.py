"""Keys and credentials: rotated without a restart, and never to be read anywhere but in Secrets."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import Reply, ask, send
from cluster.harness.objects import Manifest, consumer, custom, key_policy, route, secret
from cluster.harness.processes import wait_until
from cluster.harness.provider import RecordingProvider
from cluster.harness.published import credential_files
from cluster.harness.system import System

UNKNOWN_KEY = "unknown-key-7c1e5f9d2b"
UNFIT = "an unfit value, for it has spaces 31ab"
"""Neither a key nor a credential may look so."""


@pytest.fixture(scope="module")
def system(
    api_server: ApiServer, crds: list[str], rbac: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """As everywhere, but the data planes log all they can."""
    with System(api_server, tmp_path_factory.mktemp("system"), more=["--log-level", "debug"]) as running:
        yield running


@pytest.fixture
def provider() -> Iterator[RecordingProvider]:
    with RecordingProvider() as running:
        yield running


def _objects(namespace: str, provider: RecordingProvider) -> list[Manifest]:
    spec = {
        "provider": "OpenAICompatible",
        "endpoint": provider.url,
        "credential": {"secretRef": {"name": "provider", "key": "api-key"}},
    }
    return [
        custom("AIBackend", namespace, "remote", spec),
        route(namespace, "chat", models=[f"chat-{namespace}"], backend="remote"),
        consumer(namespace, "caller"),
        key_policy(namespace),
    ]


def _credential(namespace: str, value: str) -> Manifest:
    return secret(namespace, "provider", {"api-key": value})


def _key(namespace: str, value: str) -> Manifest:
    return secret(namespace, "caller", {"token": value})


def _sends(authorization: str, provider: RecordingProvider, url: str, key: str, model: str) -> bool:
    """Whether the data plane at `url` sends that to the provider; a call that fails is a defect."""
    assert ask(url, key=key, model=model).status == 200
    return provider.authorizations[-1] == authorization


def test_a_rotated_credential_is_sent_without_a_restart(
    system: System, namespace: str, provider: RecordingProvider
) -> None:
    key, model = f"key-of-{namespace}", f"chat-{namespace}"
    objects = _objects(namespace, provider)
    system.apply(_key(namespace, key), _credential(namespace, "first-credential-0001"), *objects)
    system.wait_for_status(200, key=key, model=model)
    assert set(provider.authorizations) == {"Bearer first-credential-0001"}
    started = [plane.process.pid for plane in system.planes]
    system.apply(_credential(namespace, "second-credential-0002"))
    for plane in system.planes:
        wait_until(partial(_sends, "Bearer second-credential-0002", provider, plane.url, key, model), what="rotation")
    assert [plane.process.pid for plane in system.planes] == started
    assert credential_files(system.admin)[f"{namespace}.remote"] == b"second-credential-0002"


def test_a_rotated_key_opens_and_the_old_one_does_not(
    system: System, namespace: str, provider: RecordingProvider
) -> None:
    old, new, model = f"old-key-of-{namespace}", f"new-key-of-{namespace}", f"chat-{namespace}"
    system.apply(_key(namespace, old), _credential(namespace, "credential-0003"), *_objects(namespace, provider))
    system.wait_for_status(200, key=old, model=model)
    system.apply(_key(namespace, new))
    system.wait_for_status(200, key=new, model=model)
    system.wait_for_status(401, key=old, model=model, code="invalid_api_key")


def test_a_credential_whose_secret_is_gone_is_not_sent_any_more(
    system: System, namespace: str, provider: RecordingProvider
) -> None:
    key, model = f"key-of-{namespace}", f"chat-{namespace}"
    credential = _credential(namespace, "revoked-credential-0004")
    objects = _objects(namespace, provider)
    system.apply(_key(namespace, key), credential, *objects)
    system.wait_for_status(200, key=key, model=model)
    system.delete(credential)
    system.wait_for(objects[0], "ResolvedRefs", "False", reason="SecretNotFound")
    wait_until(lambda: f"{namespace}.remote" not in credential_files(system.admin), what="the credential to be gone")
    system.wait_for_status(502, key=key, model=model, code="upstream_credential_missing")
    seen = len(provider.authorizations)
    assert {reply.status for reply in system.ask_all(key=key, model=model)} == {502}
    assert len(provider.authorizations) == seen


def test_no_secret_is_readable_anywhere(system: System, namespace: str) -> None:
    keys = [f"first-key-{namespace}-8d1f", f"second-key-{namespace}-93ce"]
    credentials = [f"first-credential-{namespace}-a7b0", f"second-credential-{namespace}-e4d2"]
    secrets, model = [*keys, *credentials, UNKNOWN_KEY, UNFIT], f"chat-{namespace}"
    answers: list[Reply] = []

    def ask_with_everything() -> None:
        for key in secrets:
            answers.extend(system.ask_all(key=key, model=model))
            answers.extend(system.ask_all(key=key, model="no-such-model"))

    with RecordingProvider() as provider:
        objects = _objects(namespace, provider)
        system.apply(_key(namespace, keys[0]), _credential(namespace, credentials[0]), *objects)
        system.wait_for_status(200, key=keys[0], model=model)
        system.apply(_key(namespace, keys[1]), _credential(namespace, credentials[1]))
        system.wait_for_status(200, key=keys[1], model=model)
        ask_with_everything()
    ask_with_everything()
    # Unfit values, about which the operator must complain without quoting them.
    system.apply(_key(namespace, UNFIT), _credential(namespace, UNFIT))
    system.wait_for(objects[0], "ResolvedRefs", "False")
    system.wait_for(objects[2], "ResolvedRefs", "False")
    ask_with_everything()
    system.operator.kill9()
    system.start_operator()
    system.apply(_key(namespace, keys[0]), _credential(namespace, credentials[0]))
    system.wait_for(objects[0], "ResolvedRefs")

    places = _places(system, namespace, objects)
    places["answers"] = b"\n".join(reply.raw for reply in answers)
    # What does not speak of this test was searched in vain.
    spoken = {"dataplane-1.audit": namespace, "dataplane-2.audit": namespace, "ConfigMaps": namespace}
    spoken |= {"objects": namespace, "operator.log": "published revision", "dataplane-1.log": "serving revision"}
    assert [place for place, text in spoken.items() if text.encode() not in places[place]] == []
    assert {200, 401, 404, 502} <= {reply.status for reply in answers}
    found = [(place, text) for place, content in places.items() for text in _forms(secrets) if text in content]
    assert found == []


def _places(system: System, namespace: str, objects: list[Manifest]) -> dict[str, bytes]:
    """Everything that somebody may read who must not read Secrets."""
    admin = system.admin
    places = {path.name: path.read_bytes() for path in system.directory.iterdir() if path.is_file()}
    snapshot = b"".join(gzip.decompress(data) for data in system.published().shards.values())
    places["ConfigMaps"] = _dump(admin.list("/api/v1/configmaps")) + snapshot
    places["Events"] = _dump(admin.list("/api/v1/events"))
    places["Leases"] = _dump(admin.list("/apis/coordination.k8s.io/v1/leases"))
    places["objects"] = b"".join(_dump(system.get(item)) for item in objects)
    for plane in system.planes:
        for path in ("/-/status", "/metrics", "/-/ready"):
            places[plane.admin_url + path] = send("GET", plane.admin_url + path).raw
        question = {"model": f"chat-{namespace}", "consumer": f"{namespace}/caller"}
        explained = send("POST", f"{plane.admin_url}/-/explain", body=question)
        assert explained.status == 200, explained.body
        places[f"{plane.admin_url}/-/explain"] = explained.raw
    return places


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()


def _forms(secrets: list[str]) -> Iterator[bytes]:
    """Each as it is, in base64 at every alignment within a longer text, and in hex."""
    for value in secrets:
        plain = value.encode()
        yield plain
        yield plain.hex().encode()
        for shift in range(3):
            # Without the characters at both ends that depend on the neighbours.
            yield base64.b64encode(b"\0" * shift + plain)[4:-4]
