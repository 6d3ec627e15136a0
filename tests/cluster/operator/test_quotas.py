"""Quotas under the operator as a real process: parents, the secrets of webhooks, notes; and a snapshot of schema 2."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from cluster.harness.processes import wait_until
from cluster.operator.conftest import TEAM
from cluster.operator.declared import BACKEND, put_secret, route
from cluster.operator.installation import CONFIG_MAPS, CREDENTIALS, INDEX, SECRETS, Installation
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import digest
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION

TOKENS = {"unit": "Tokens", "amount": "5", "window": {"calendar": "Day"}}
ON_ROUTE = {"targetRefs": [{"kind": "AIRoute", "name": "chat"}]}
HOOK = {"url": "https://hooks.example.com/", "secretRef": {"name": "hook", "key": "token"}}


def test_a_parent_a_webhook_and_a_way_down_that_come_later(installation: Installation) -> None:
    installation.create("AIBackend", TEAM, "mock", BACKEND)
    installation.create("AIRoute", TEAM, "chat", route("chat"))
    limits = [{**TOKENS, "onExceed": "Fallback", "alertAt": [80]}]
    installation.create("Quota", TEAM, "child", {**ON_ROUTE, "limits": limits, "parent": "whole", "notify": HOOK})
    operator = installation.operator()

    missing = installation.wait_for_condition("Quota", TEAM, "child", "ResolvedRefs", status="False", process=operator)
    assert missing["reason"] == "SecretNotFound"
    assert f"Quota {TEAM}/whole does not exist, so routes of this quota answer 503" in missing["message"]
    noted = installation.condition("Quota", TEAM, "child", "Accepted")
    assert noted["status"] == "True"
    assert f"Note: spec.limits[0].onExceed: Fallback acts as Block on AIRoute {TEAM}/chat" in noted["message"]

    installation.create("Quota", TEAM, "whole", {**ON_ROUTE, "limits": [TOKENS]})
    put_secret(installation.rest, TEAM, "hook", "first-signing-secret")
    targets = [*route("chat")["targets"], {"backendRef": {"name": "mock"}, "fallback": True}]
    installation.edit("AIRoute", TEAM, "chat", {"targets": targets})
    installation.wait_for_condition("Quota", TEAM, "child", "ResolvedRefs", process=operator)
    installation.wait_for_condition(
        "Quota", TEAM, "child", "Accepted", accept=lambda c: c["message"] == "The object is valid.", process=operator
    )

    put_secret(installation.rest, TEAM, "hook", "second-signing-secret")
    wait_until(lambda: b"second-signing-secret" in _credentials(installation), what="the new secret", process=operator)
    everything = str(installation.rest.list(CONFIG_MAPS)) + str(installation.load()) + operator.log_text()
    assert "signing-secret" not in everything


def test_an_upgraded_operator_keeps_the_last_good_forms_of_schema_2(installation: Installation) -> None:
    installation.create("AIBackend", TEAM, "mock", BACKEND)
    installation.create("AIRoute", TEAM, "chat", route("chat"))
    installation.create("Quota", TEAM, "daily", {**ON_ROUTE, "limits": [TOKENS]})
    former = installation.operator()
    installation.wait_for_revision(1, process=former)
    wait_until(lambda: _amounts(installation) == [5], what="the quota in force", process=former)
    former.stop()
    revision = installation.revision()
    _publish_as_schema_2(installation)
    nowhere = {**TOKENS, "amount": "7", "window": {"calendar": "Day", "timeZone": "Europe/Atlantis"}}
    installation.edit("Quota", TEAM, "daily", {"limits": [nowhere]})

    upgraded = installation.operator(name="upgraded", more=["--no-leader-election"])
    installation.wait_for_revision(revision + 1, process=upgraded)
    wait_until(
        lambda: installation.status("Quota", TEAM, "daily").get("observedGeneration") == 2,
        what="the verdict on the new generation",
        process=upgraded,
    )
    assert installation.status("Quota", TEAM, "daily")["servedGeneration"] == 1
    snapshot = installation.load()
    assert snapshot.index.schema_version == SCHEMA_VERSION
    assert {shard.schema_version for shard in snapshot.shards.values()} == {SCHEMA_VERSION}
    assert _amounts(installation) == [5]
    assert "damaged" not in upgraded.log_text()


def _amounts(installation: Installation) -> list[int]:
    quotas = [quota for shard in installation.load().shards.values() for quota in shard.quotas]
    return [limit.amount for quota in quotas for limit in quota.limits]


def _credentials(installation: Installation) -> list[bytes]:
    found = installation.find(f"{SECRETS}/{CREDENTIALS}") or {}
    return [base64.b64decode(value) for value in found.get("data", {}).values()]


def _publish_as_schema_2(installation: Installation) -> None:
    """Nothing that these objects say is new in schema 3, so that all that differs is the number."""
    rest = installation.rest
    index: dict[str, Any] = json.loads(rest.get(f"{CONFIG_MAPS}/{INDEX}")["data"][INDEX_KEY])
    for ref in index["shards"]:
        path = f"{CONFIG_MAPS}/{INDEX}-{ref['name']}"
        key = shard_key(ref["name"], ref["sha256"])
        shard = json.loads(gzip.decompress(base64.b64decode(rest.get(path)["binaryData"][key])))
        data = gzip.compress(json.dumps({**shard, "schema_version": 2}).encode(), mtime=0)
        ref.update(sha256=digest(data), size=len(data))
        key_of_2 = shard_key(ref["name"], ref["sha256"])
        rest.patch(path, {"binaryData": {key: None, key_of_2: base64.b64encode(data).decode()}})
    index["schema_version"] = 2
    rest.patch(f"{CONFIG_MAPS}/{INDEX}", {"data": {INDEX_KEY: json.dumps(index)}})
