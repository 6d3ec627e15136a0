"""What a user does with kubectl, and what callers notice of it: through the operator and two data planes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from cluster.harness.callers import ask, status_of
from cluster.harness.kubectl import Kubectl
from cluster.harness.objects import (
    consumer,
    key_policy,
    mock_backend,
    route,
    secret,
    tenant,
)
from cluster.harness.processes import wait_until
from cluster.harness.system import System

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart"
KEY = "demo-key-for-the-quickstart"
OTHER_KEY = "another-key-of-another-tenant"
KINDS = ("aibackend/mock", "airoute/chat", "aipolicy/house-rules", "aiconsumer/demo-app", "quota/free-tier")


@pytest.fixture
def quickstart(system: System, kubectl: Kubectl, namespace: str) -> str:
    """A namespace into which the quickstart was applied, and in which everything is Ready."""
    kubectl.apply(QUICKSTART, namespace=namespace)
    for name in KINDS:
        kubectl.run("wait", "-n", namespace, name, "--for=condition=Ready", "--timeout=20s")
    return namespace


def _client(url: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.fixture
def clients(system: System) -> Iterator[list[openai.OpenAI]]:
    """The real client, one for each data plane."""
    made = [_client(plane.url) for plane in system.planes]
    yield made
    for client in made:
        client.close()


def test_the_openai_client_is_answered_by_every_data_plane(quickstart: str, clients: list[openai.OpenAI]) -> None:
    for client in clients:
        completion = client.chat.completions.create(model="chat-fast", messages=[{"role": "user", "content": "Hi"}])
        assert completion.choices[0].message.content == ("Hello from Tidegate. This answer came from the Mock backend.")
        stream = client.chat.completions.create(
            model="chat-fast", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert said == completion.choices[0].message.content
        assert [model.id for model in client.models.list()] == ["chat-fast"]


def test_edits_are_obeyed_by_every_data_plane(system: System, kubectl: Kubectl, quickstart: str) -> None:
    def patch(name: str, spec: str) -> None:
        kubectl.run("patch", "-n", quickstart, name, "--type=merge", "-p", spec)

    patch("aibackend/mock", '{"spec": {"mock": {"reply": "Edited."}}}')
    system.wait_for_text("Edited.", key=KEY, model="chat-fast")
    patch("airoute/chat", '{"spec": {"models": ["chat-slow"]}}')
    system.wait_for_status(404, key=KEY, model="chat-fast", code="model_not_found")
    system.wait_for_status(200, key=KEY, model="chat-slow")
    patch("aiconsumer/demo-app", '{"spec": {"roles": ["training"]}}')
    system.wait_for_status(403, key=KEY, model="chat-slow")
    patch("aiconsumer/demo-app", '{"spec": {"roles": ["inference"]}}')
    system.wait_for_status(200, key=KEY, model="chat-slow")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("aipolicy/house-rules", 401, "method_not_accepted"),
        ("aiconsumer/demo-app", 401, "invalid_api_key"),
        ("secret/demo-app", 401, "invalid_api_key"),
        ("airoute/chat", 404, "model_not_found"),
    ],
)
def test_what_is_deleted_is_gone_at_once(
    system: System, kubectl: Kubectl, quickstart: str, name: str, status: int, code: str
) -> None:
    system.wait_for_status(200, key=KEY, model="chat-fast")
    kubectl.run("delete", "-n", quickstart, name)
    took = system.wait_for_status(status, key=KEY, model="chat-fast", code=code)
    assert took < 5


def test_statuses_name_the_generation_that_is_in_force(system: System, kubectl: Kubectl, quickstart: str) -> None:
    for name in KINDS:
        found = kubectl.get_json(name, namespace=quickstart)
        generation, status = found["metadata"]["generation"], found["status"]
        assert (status["observedGeneration"], status["servedGeneration"]) == (generation, generation), name
        conditions = {item["type"]: item for item in status["conditions"]}
        assert list(conditions) == ["Accepted", "ResolvedRefs", "Programmed", "Ready"]
        assert {item["status"] for item in conditions.values()} == {"True"}, name
        assert {item["observedGeneration"] for item in conditions.values()} == {generation}
        assert re.fullmatch(r"revision \d+ on 2/2", conditions["Programmed"]["message"]), conditions["Programmed"]


def test_a_status_keeps_its_transition_time_over_an_edit(system: System, namespace: str) -> None:
    made = mock_backend(namespace)
    system.apply(made)
    before = system.wait_for(made, "Accepted")
    system.apply(mock_backend(namespace, reply="Edited."))
    after = system.wait_for(made, "Ready")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert _times(after)["Accepted"] == _times(before)["Accepted"]


def test_a_route_says_what_its_backend_lacks_until_it_is_there(system: System, namespace: str) -> None:
    lonely = route(namespace, "chat", models=["chat"])
    system.apply(lonely)
    found = system.wait_for(lonely, "ResolvedRefs", "False", reason="BackendNotFound")
    message = next(item["message"] for item in found["status"]["conditions"] if item["type"] == "ResolvedRefs")
    assert f"AIBackend {namespace}/mock does not exist" in message
    system.apply(mock_backend(namespace))
    system.wait_for(lonely, "Ready")


def test_kubectl_get_shows_all_kinds(kubectl: Kubectl, quickstart: str) -> None:
    listed = kubectl.run("get", "tidegate", "-A")
    lines = [line.split() for line in listed.splitlines() if line.startswith(quickstart)]
    assert {line[1].replace(".tidegate.dev", "") for line in lines} == set(KINDS)
    assert all("True" in line for line in lines), listed
    described = kubectl.run("describe", "airoute", "chat", "-n", quickstart)
    assert re.search(r"revision \d+ on 2/2", described)


def test_the_operator_touches_only_the_status(kubectl: Kubectl, quickstart: str) -> None:
    for name in KINDS:
        found = kubectl.get_json(name, "--show-managed-fields", namespace=quickstart)["metadata"]
        assert "finalizers" not in found, name
        assert "annotations" not in found, name
        managers = {(item["manager"], item.get("subresource", "")) for item in found["managedFields"]}
        assert managers == {("kubectl", ""), ("tidegate-operator-status", "status")}
    own = kubectl.get_json("secret/demo-app", "--show-managed-fields", namespace=quickstart)["metadata"]
    assert {item["manager"] for item in own["managedFields"]} == {"kubectl"}


def test_an_ungranted_reference_does_not_tell_whether_its_target_exists(
    system: System, make_namespace: Callable[..., str]
) -> None:
    owner, stranger = make_namespace("owner"), make_namespace("stranger")
    system.apply(mock_backend(owner, "private"))
    messages = []
    for target in ("private", "nothing"):
        curious = route(stranger, "curious", models=["curious"], backend=target, backend_namespace=owner)
        system.apply(curious)
        system.wait_for(curious, "ResolvedRefs", "False", reason="RefNotPermitted")
        # Which data planes have it already differs from moment to moment.
        found = system.wait_for(curious, "Programmed")
        messages.append(str(found["status"]["conditions"]).replace(f"{owner}/{target}", f"{owner}/TARGET"))
        system.delete(curious)
    # Without what differs between any two objects: their revisions and times.
    plain = [re.sub(r"revision \d+|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "", message) for message in messages]
    assert plain[0] == plain[1]


def test_a_grant_opens_a_backend_and_its_end_closes_it(system: System, make_namespace: Callable[..., str]) -> None:
    owner, guest = make_namespace("owner"), make_namespace("guest")
    shared = mock_backend(owner, "shared", reply="Shared.")
    objects = [
        secret(guest, "caller", {"token": OTHER_KEY}),
        consumer(guest, "caller"),
        key_policy(guest),
        route(guest, "chat", models=["shared"], backend="shared", backend_namespace=owner),
    ]
    system.apply(shared, *objects)
    system.wait_for_status(503, key=OTHER_KEY, model="shared")
    shared["spec"]["allowedNamespaces"] = [guest]
    system.apply(shared)
    system.wait_for_text("Shared.", key=OTHER_KEY, model="shared")
    shared["spec"]["allowedNamespaces"] = []
    system.apply(shared)
    system.wait_for_status(503, key=OTHER_KEY, model="shared")


def test_a_caller_of_another_tenant_finds_no_such_model(system: System, make_namespace: Callable[..., str]) -> None:
    ours, theirs = make_namespace("ours"), make_namespace("theirs")
    objects = [*tenant(ours, KEY, model="model-one"), *tenant(theirs, OTHER_KEY, model="model-two")]
    system.apply(*objects)
    system.wait_all_ready(objects)
    for plane in system.planes:
        hidden = ask(plane.url, key=OTHER_KEY, model="model-one")
        unknown = ask(plane.url, key=OTHER_KEY, model="never")
        assert (hidden.status, hidden.code) == (404, "model_not_found")
        assert hidden.body.replace(b"model-one", b"never") == unknown.body
        with _client(plane.url, OTHER_KEY) as client:
            assert [model.id for model in client.models.list()] == ["model-two"]


def test_programmed_waits_for_a_data_plane_that_hangs(system: System, namespace: str) -> None:
    objects = tenant(namespace, KEY)
    system.apply(*objects)
    system.wait_all_ready(objects)
    backend = mock_backend(namespace, reply="While one hangs.")
    hanging = system.planes[1].process
    hanging.signal(signal.SIGSTOP)
    try:
        system.apply(backend)
        found = system.wait_for(backend, "Programmed", "False", reason="Pending")
        assert re.search(r"revision \d+ on 1/2", str(found["status"]))
        assert system.condition(backend, "Ready")["status"] == "False"
        assert ask(system.planes[0].url, key=KEY).text == "While one hangs."
    finally:
        hanging.signal(signal.SIGCONT)
    found = system.wait_for(backend, "Programmed")
    assert re.search(r"revision \d+ on 2/2", str(found["status"]))
    assert ask(system.planes[1].url, key=KEY).text == "While one hangs."


def test_a_data_plane_that_stopped_is_not_waited_for(system: System, namespace: str) -> None:
    objects = tenant(namespace, KEY)
    system.apply(*objects)
    system.wait_all_ready(objects)
    system.planes[1].process.stop()
    try:
        _edit_until_programmed(system, namespace, on="1/1")
        assert system.condition(mock_backend(namespace), "Ready")["status"] == "True"
    finally:
        system.start_plane(1).wait_ready()
    _edit_until_programmed(system, namespace, on="2/2")


def _edit_until_programmed(system: System, namespace: str, *, on: str) -> None:
    """The operator notices within a second or two that a data plane came or went; each edit is told anew."""
    edits = iter(range(100))

    def programmed() -> bool:
        backend = mock_backend(namespace, reply=f"Edit {next(edits)}.")
        system.apply(backend)
        message = str(system.wait_for(backend, "Programmed")["status"])
        return re.search(rf"revision \d+ on {on}", message) is not None

    wait_until(programmed, what=f"an edit to be programmed on {on}", deadline=20)


def test_every_data_plane_comes_to_the_same_revision(system: System, namespace: str) -> None:
    system.apply(*tenant(namespace, KEY))
    system.wait_for_status(200, key=KEY)
    wait_until(lambda: set(system.revisions()) == {system.published().revision}, what="one revision everywhere")
    for plane in system.planes:
        assert status_of(plane.admin_url)["lastRefusal"] is None


def _times(resource: Any) -> dict[str, str]:
    return {item["type"]: item["lastTransitionTime"] for item in resource["status"]["conditions"]}
