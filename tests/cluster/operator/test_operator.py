"""The operator as a real process under the chart's roles, against a real API server."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cluster.harness.processes import wait_until
from cluster.operator.conftest import TEAM
from cluster.operator.declared import BACKEND, NOT_CEL, POLICY, consumer, put_secret, remote_backend, route
from cluster.operator.installation import CONFIG_MAPS, CREDENTIALS, INDEX, SECRETS, Installation
from cluster.operator.plane_double import PlaneDouble


def _declare(installation: Installation, routes: int = 1) -> None:
    put_secret(installation.rest, TEAM, "caller", "caller-key-of-this-test")
    installation.create("AIBackend", TEAM, "mock", BACKEND)
    installation.create("AIPolicy", TEAM, "house", POLICY)
    installation.create("AIConsumer", TEAM, "app", consumer("caller"))
    for number in range(routes):
        installation.create("AIRoute", TEAM, f"route-{number}", route(f"model-{number}"))


def _all_ready(installation: Installation) -> bool:
    return all(
        any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))
        for item in installation.objects().values()
    )


def test_what_is_applied_is_published_and_reported(installation: Installation) -> None:
    _declare(installation)
    with PlaneDouble(revision=0) as first, PlaneDouble(revision=0) as second:
        operator = installation.operator(first.url, second.url)
        installation.wait_for_revision(1, process=operator)
        snapshot = installation.load()
        assert snapshot.route(f"{TEAM}/route-0").models == ("model-0",)

        first.runs(1)
        pending = installation.wait_for_condition(
            "AIRoute", TEAM, "route-0", "Programmed", status="False", accept=lambda c: "1/2" in c["message"]
        )
        assert pending["reason"] == "Pending"
        assert pending["message"] == f"revision 1 on 1/2: waiting for {second.url.removeprefix('http://')}"

        second.runs(1)
        done = installation.wait_for_condition("AIRoute", TEAM, "route-0", "Programmed", process=operator)
        assert done["message"] == "revision 1 on 2/2"
        wait_until(lambda: _all_ready(installation), what="all objects to be Ready", process=operator)

    status = installation.status("AIRoute", TEAM, "route-0")
    assert (status["observedGeneration"], status["servedGeneration"]) == (1, 1)
    assert [condition["type"] for condition in status["conditions"]] == [
        "Accepted",
        "ResolvedRefs",
        "Programmed",
        "Ready",
    ]
    for name, item in installation.objects().items():
        assert "finalizers" not in item["metadata"], name
        assert "annotations" not in item["metadata"], name
    operator.stop()
    assert operator.exit_code == 0
    log = operator.log_text()
    assert "403" not in log
    assert "orbidden" not in log
    assert "ERROR" not in log
    assert "caller-key-of-this-test" not in log


def test_asked_to_end_again_and_again_it_ends_in_order(installation: Installation) -> None:
    _declare(installation)
    operator = installation.operator()
    installation.wait_for_revision(1, process=operator)
    asked = operator.ask_until_it_ends()
    assert asked > 1, "it ended before it could be asked again"
    assert operator.exit_code == 0
    assert "Traceback" not in operator.log_text(), operator.log_tail()


def test_a_change_reaches_the_index_and_only_its_own_object(installation: Installation) -> None:
    _declare(installation, routes=3)
    with PlaneDouble(revision=10**6) as plane:
        operator = installation.operator(plane.url)
        # A data plane that runs a higher revision than is published: the next one must be above.
        installation.wait_for_revision(10**6 + 1, process=operator)
        plane.runs(10**6 + 1)
        before = {
            number: installation.wait_for_condition("AIRoute", TEAM, f"route-{number}", "Ready") for number in range(3)
        }
        generation = installation.edit("AIRoute", TEAM, "route-1", {"models": ["renamed"]})
        installation.wait_for_revision(10**6 + 2, process=operator)
        plane.runs(10**6 + 2)
        changed = installation.wait_for_condition("AIRoute", TEAM, "route-1", "Programmed")
        assert changed["message"] == f"revision {10**6 + 2} on 1/1"
        assert installation.status("AIRoute", TEAM, "route-1")["servedGeneration"] == generation == 2
        assert installation.load().route(f"{TEAM}/route-1").models == ("renamed",)
        for number in (0, 2):
            assert installation.condition("AIRoute", TEAM, f"route-{number}", "Ready") == before[number]


def test_a_refusal_is_reported_in_the_data_planes_words(installation: Installation) -> None:
    _declare(installation)
    with PlaneDouble(revision=0) as plane:
        operator = installation.operator(plane.url)
        installation.wait_for_revision(1, process=operator)
        plane.runs(1)
        installation.edit("AIRoute", TEAM, "route-0", {"timeout": "7s"})
        installation.wait_for_revision(2, process=operator)
        plane.refuses(2, "revision 2 cannot be built: no room")
        refused = installation.wait_for_condition("AIRoute", TEAM, "route-0", "Programmed", status="False")
        assert refused["reason"] == "DataPlaneRefused"
        assert "runs revision 1: BuildFailed: revision 2 cannot be built: no room" in refused["message"]


def test_an_invalid_generation_keeps_the_last_good_one_across_restarts(installation: Installation) -> None:
    _declare(installation, routes=20)
    installation.create("AIPolicy", TEAM, "strict", POLICY)
    with PlaneDouble(revision=0) as plane:
        operator = installation.operator(plane.url)
        installation.wait_for_revision(1, process=operator)
        plane.runs(1)
        installation.wait_for_condition("AIPolicy", TEAM, "strict", "Ready", process=operator)
        outputs, served = installation.outputs(), installation.load()

        installation.edit("AIPolicy", TEAM, "strict", NOT_CEL)
        rejected = installation.wait_for_condition("AIPolicy", TEAM, "strict", "Accepted", status="False")
        assert "spec.authorization.rules[0].when" in rejected["message"]
        status = installation.status("AIPolicy", TEAM, "strict")
        assert (status["observedGeneration"], status["servedGeneration"]) == (2, 1)

        # Another object's change is published while the bad one is there, and so is the last good form.
        installation.edit("AIRoute", TEAM, "route-7", {"timeout": "7s"})
        installation.wait_for_revision(2, process=operator)
        plane.runs(2)
        installation.wait_for_condition("AIRoute", TEAM, "route-7", "Ready", process=operator)
        again = installation.load()
        assert _entries(again, "policies") == _entries(served, "policies")
        assert [r for r in _entries(again, "routes") if r.source.name != "route-7"] == [
            r for r in _entries(served, "routes") if r.source.name != "route-7"
        ]
        assert outputs.keys() == installation.outputs().keys()

        outputs = installation.outputs()
        operator.kill9()
        restarted = installation.operator(plane.url, name="restarted", more=["--no-leader-election"])
        restarted.wait_for_log("read back revision 2")
        installation.edit("AIRoute", TEAM, "route-7", {"timeout": "8s"})
        installation.wait_for_revision(3, process=restarted)
        assert _entries(installation.load(), "policies") == _entries(served, "policies")
        assert installation.status("AIPolicy", TEAM, "strict") == status


def test_an_equal_world_is_not_written_again(installation: Installation) -> None:
    _declare(installation, routes=5)
    with PlaneDouble(revision=0) as plane:
        operator = installation.operator(plane.url)
        installation.wait_for_revision(1, process=operator)
        plane.runs(1)
        wait_until(lambda: _all_ready(installation), what="all objects to be Ready", process=operator)
        operator.stop()
        outputs, objects = installation.outputs(), installation.objects()

        restarted = installation.operator(plane.url, name="restarted")
        restarted.wait_for_log("read back revision 1")
        # The next change proves that the restarted operator has done all that it wanted to do before.
        installation.create("AIRoute", TEAM, "marker", route("marker"))
        installation.wait_for_revision(2, process=restarted)
        plane.runs(2)
        installation.wait_for_condition("AIRoute", TEAM, "marker", "Ready", process=restarted)

        after = installation.objects()
        assert {key: after[key] for key in objects} == objects
        changed = {name for name, version in installation.outputs().items() if outputs.get(name) != version}
        shard = next(name for name in changed if name != INDEX)
        assert changed == {INDEX, shard}


def test_outputs_that_others_change_or_delete_are_put_back(installation: Installation) -> None:
    _declare(installation)
    put_secret(installation.rest, TEAM, "provider", "upstream-credential-of-this-test")
    installation.create("AIBackend", TEAM, "remote", remote_backend("provider"))
    operator = installation.operator()
    installation.wait_for_revision(1, process=operator)
    wait_until(lambda: installation.find(f"{SECRETS}/{CREDENTIALS}") is not None, what="the credentials")
    shard = f"{CONFIG_MAPS}/{INDEX}-{installation.load().index.shards[0].name}"
    index, secret = f"{CONFIG_MAPS}/{INDEX}", f"{SECRETS}/{CREDENTIALS}"
    wanted = {path: _content(installation, path) for path in (index, shard, secret)}
    garbage = base64.b64encode(b"garbage").decode()
    edits: dict[str, dict[str, Any]] = {
        index: {"data": {"index.json": "{}", "summary": "edited"}},
        shard: {"binaryData": dict.fromkeys(wanted[shard]["binaryData"], garbage)},
        secret: {"data": dict.fromkeys(wanted[secret]["data"], garbage)},
    }
    for path, edit in edits.items():
        installation.rest.patch(path, edit)
        _wait_for_content(installation, path, wanted[path])
        installation.rest.delete(path)
        _wait_for_content(installation, path, wanted[path])
    assert installation.load().index.revision == 1


def test_what_is_deleted_while_no_operator_runs_is_gone_afterwards(installation: Installation) -> None:
    _declare(installation, routes=3)
    operator = installation.operator()
    installation.wait_for_revision(1, process=operator)
    operator.stop()
    for item in installation.objects().values():
        meta = item["metadata"]
        installation.rest.delete(installation.path(item["kind"], meta["namespace"], meta["name"]))
    restarted = installation.operator(name="restarted")
    installation.wait_for_revision(2, process=restarted)
    assert installation.load().shards == {}


def test_a_rotated_secret_is_published_and_never_shown(installation: Installation) -> None:
    _declare(installation)
    put_secret(installation.rest, TEAM, "provider", "first-upstream-credential")
    installation.create("AIBackend", TEAM, "remote", remote_backend("provider"))
    operator = installation.operator()
    installation.wait_for_revision(1, process=operator)

    put_secret(installation.rest, TEAM, "provider", "second-upstream-credential")
    wait_until(
        lambda: b"second-upstream-credential" in _secret_values(installation), what="the new upstream credential"
    )
    put_secret(installation.rest, TEAM, "caller", "second-caller-key")
    digest = hashlib.sha256(b"second-caller-key").hexdigest()
    wait_until(lambda: digest in str(installation.load()), what="the new caller key")

    everything = str(installation.rest.list(CONFIG_MAPS)) + str(installation.load()) + operator.log_text()
    for value in ("first-upstream", "second-upstream", "caller-key-of-this-test", "second-caller-key"):
        assert value not in everything


def test_another_operator_takes_over_and_continues(installation: Installation) -> None:
    _declare(installation)
    first = installation.operator(name="first")
    installation.wait_for_revision(1, process=first)
    second = installation.operator(name="second")
    second.wait_for_log("listed ")
    installation.edit("AIRoute", TEAM, "route-0", {"timeout": "11s"})
    installation.wait_for_revision(2, process=first)
    assert "leading as" not in second.log_text()

    first.stop()
    second.wait_for_log("read back revision 2")
    installation.edit("AIRoute", TEAM, "route-0", {"timeout": "12s"})
    installation.wait_for_revision(3, process=second)
    assert installation.load().route(f"{TEAM}/route-0").timeout_ms == 12_000


def test_changes_are_seen_after_the_api_server_was_away(installation: Installation) -> None:
    _declare(installation, routes=2)
    operator = installation.operator()
    installation.wait_for_revision(1, process=operator)
    wait_until(lambda: bool(installation.status("AIRoute", TEAM, "route-0")), what="statuses", process=operator)
    installation.server.kill_api()
    installation.server.start_api()
    installation.rest.delete(installation.path("AIRoute", TEAM, "route-1"))
    wait_until(
        lambda: installation.load().route(f"{TEAM}/route-1") is None,
        what="the deletion to be published",
        deadline=60.0,
        process=operator,
    )


def _entries(snapshot: Any, kind: str) -> list[Any]:
    found = [entry for shard in snapshot.shards.values() for entry in getattr(shard, kind)]
    return sorted(found, key=lambda entry: entry.source.key)


def _wait_for_content(installation: Installation, path: str, wanted: dict[str, Any]) -> None:
    wait_until(lambda: _content(installation, path) == wanted, what=f"{path} to be put back")


def _content(installation: Installation, path: str) -> dict[str, Any]:
    item = installation.find(path) or {}
    return {
        "data": item.get("data"),
        "binaryData": item.get("binaryData"),
        "labels": item.get("metadata", {}).get("labels"),
    }


def _secret_values(installation: Installation) -> list[bytes]:
    secret = installation.find(f"{SECRETS}/{CREDENTIALS}") or {}
    return [base64.b64decode(value) for value in secret.get("data", {}).values()]
