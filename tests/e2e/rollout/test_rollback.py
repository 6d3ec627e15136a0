"""Rollback and freeze: in force within seconds, over restarts, until Git agrees; and what is revoked stays revoked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import ask
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.objects import Manifest, consumer, key_policy, mock_backend, path_of, secret, tenant
from cluster.harness.processes import wait_until
from cluster.harness.published import load_fresh
from cluster.harness.system import System
from e2e.rollout.commands import OnCall

TEAM = "team-a"
KEY = "a-key-of-team-a-000001"
OTHER = "a-key-of-team-a-000002"
MAPS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


def _world(server: ApiServer, system: System) -> list[Manifest]:
    server.ensure_namespace(TEAM)
    world = [
        *tenant(TEAM, KEY, reply="one"),
        secret(TEAM, "other", {"token": OTHER}),
        consumer(TEAM, "other"),
    ]
    system.apply(*world)
    return world


def _settled(system: System, on_call: OnCall, reply: str) -> int:
    """Wait until `reply` is served and its revision is kept; returns that revision."""
    system.wait_for_text(reply, key=KEY)
    revision = system.published().revision
    maps = system.admin
    wait_until(lambda: _kept(maps, revision), what=f"revision {revision} to be kept", deadline=20.0)
    assert on_call.revisions()["revisions"][0]["revision"] == revision
    return revision


def _kept(admin: Any, revision: int) -> bool:
    items = {item["metadata"]["name"]: item for item in admin.list(MAPS)}
    history = items.get("tidegate-default-history")
    return history is not None and f'"revision":{revision},' in history["data"]["history.json"].replace(" ", "")


@pytest.mark.timeout(300)
def test_a_rollback_holds_until_git_agrees(server: ApiServer, tmp_path: Path) -> None:
    on_call = OnCall(server)
    with System(server, tmp_path) as system:
        _world(server, system)
        good = _settled(system, on_call, "one")
        bytes_of_good = system.published().shards
        system.apply(mock_backend(TEAM, reply="bad"))
        bad = _settled(system, on_call, "bad")

        began = time.monotonic()
        said = on_call.run("rollback", str(good), "--reason", "answers are wrong", "--by", "jo")
        seconds = system.wait_for_text("one", key=KEY)
        print(f"rollback: command to enforced in {time.monotonic() - began:.2f} s (of it polling {seconds:.2f} s)")
        assert f"Rolling back to revision {good}" in said
        assert "in force until Git agrees" in said
        assert system.published().revision > bad
        assert system.published().shards == bytes_of_good

        backend = mock_backend(TEAM)
        held = system.wait_for(backend, "Ready", "False", reason="PinnedToRevision")
        message = next(c["message"] for c in held["status"]["conditions"] if c["type"] == "Ready")
        assert f"Rolled back to revision {good} by jo: answers are wrong" in message
        assert "tidegate rollback --release" in message
        assert held["status"]["servedGeneration"] == 1
        _event(system, "PinnedToRevision")

        # A new operator finds it so, and goes on.
        system.operator.kill9()
        system.start_operator()
        system.operator.wait_for_log("leading as")
        system.apply(mock_backend(TEAM, reply="worse"))
        system.wait_for(backend, "Ready", "False", reason="PinnedToRevision")
        assert [reply.text for reply in system.ask_all(key=KEY)] == ["one", "one"]

        # Who is revoked meanwhile is out, though the pinned revision knew the key.
        assert {reply.status for reply in system.ask_all(key=OTHER)} == {200}
        system.apply(consumer(TEAM, "other", suspended=True))
        system.wait_for_status(403, key=OTHER)
        assert [reply.text for reply in system.ask_all(key=KEY)] == ["one", "one"]
        load_fresh(system.published())

        # Git agrees: what it says afterwards is published again by itself.
        system.apply(mock_backend(TEAM, reply="one"), consumer(TEAM, "other"))
        system.wait_for(backend, "Ready")
        wait_until(lambda: on_call.revisions()["pinnedTo"] is None, what="Git to agree", deadline=20.0)
        system.apply(mock_backend(TEAM, reply="two"))
        system.wait_for_text("two", key=KEY)

        table = on_call.run("revisions")
        assert f"rollback to {good} by jo" in " ".join(table.split())
        assert "is not kept" in on_call.run("rollback", "4711", code=2)


@pytest.mark.timeout(300)
def test_a_freeze_lets_nothing_through_but_closings(server: ApiServer, tmp_path: Path) -> None:
    on_call = OnCall(server)
    with System(server, tmp_path) as system:
        _world(server, system)
        _settled(system, on_call, "one")
        on_call.run("freeze", "--reason", "Black Friday", "--until", "1h")
        frozen = system.published().revision
        system.apply(mock_backend(TEAM, reply="two"))
        held = system.wait_for(mock_backend(TEAM), "Programmed", "False", reason="Frozen")
        message = next(c["message"] for c in held["status"]["conditions"] if c["type"] == "Programmed")
        assert "Black Friday" in message
        assert system.published().revision == frozen

        # A new operator publishes nothing either.
        system.operator.kill9()
        system.start_operator()
        system.operator.wait_for_log("leading as")
        system.apply(key_policy(TEAM, "second", authorization={"rules": [{"name": "no", "effect": "Deny"}]}))
        system.wait_for(key_policy(TEAM, "second"), "Programmed", "False", reason="Frozen")
        assert system.published().revision == frozen
        assert [reply.text for reply in system.ask_all(key=KEY)] == ["one", "one"]

        # A deleted consumer is gone at once.
        system.admin.delete(path_of(consumer(TEAM, "other")))
        system.wait_for_status(401, key=OTHER)
        assert [reply.text for reply in system.ask_all(key=KEY)] == ["one", "one"]

        # A typing error in the wish changes nothing and is told.
        system.admin.patch(f"{MAPS}/tidegate-default-hold", {"data": {"freeze": "until: tomorrow"}})
        wait_until(lambda: on_call.revisions()["faults"], what="the fault to be told", deadline=10.0)
        system.admin.delete(path_of(key_policy(TEAM, "second")))
        assert ask(system.planes[0].url, key=KEY).text == "one"

        on_call.run("unfreeze")
        system.wait_for_text("two", key=KEY)
        system.wait_for(mock_backend(TEAM), "Ready")


def _event(system: System, reason: str) -> None:
    path = f"/api/v1/namespaces/{TEAM}/events"
    wait_until(
        lambda: any(event["reason"] == reason for event in system.admin.list(path)),
        what=f"an Event {reason}",
        deadline=20.0,
    )
