"""What a caller and an approver see of risk: answers, the list of held-back calls, the audit line."""

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from dataplane.factory import KEY, bundle_of, policy, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, admin, chat, exchange, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    GrantEntry,
    PolicyEntry,
    RiskEntry,
    SignalEntry,
    SignalKind,
    TargetKind,
    TargetRef,
)

FAR = 4_000_000_000
SENSITIVE = SignalEntry(
    name="sensitive", kind=SignalKind.EXPRESSION, weight=40, when="request.headers['x-sensitivity'] != 'public'"
)


def world(*grants: GrantEntry, revision: int = 1, **thresholds: Any) -> Bundle:
    risk = PolicyEntry(
        source=source("risk"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        risk=RiskEntry(signals=(SENSITIVE,), **thresholds),
    )
    routes = [replace(route(policies=("open", "risk")), grants=grants)]
    return bundle_of(shard(routes=routes, policies=[policy(), risk]), revision=revision)


async def ask(plane: DataPlane, sensitivity: str = "secret", **fields: Any) -> RawAnswer:
    return await exchange(plane, request(chat(**fields), key=KEY, headers=(f"x-sensitivity: {sensitivity}",)))


async def test_a_call_that_needs_a_step_up_gets_the_challenge_of_rfc_9470() -> None:
    async with running(world(step_up=30, acr_values=("phr",), max_age_ms=60_000)) as plane:
        assert (await ask(plane, "public")).status == 200
        refused = await ask(plane)
    assert refused.status == 401
    assert refused.json()["error"]["code"] == "insufficient_user_authentication"
    challenge = refused.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication", ')
    assert challenge.endswith('acr_values="phr", max_age="60"')


async def test_a_held_back_call_is_listed_approved_and_let_through_once(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with running(world(approval=30), audit=audit) as plane:
        refused = await ask(plane)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "approval_required")
        assert (await ask(plane)).status == 403
        (pending,) = (await admin(plane, "/-/approvals")).json()["pending"]
        assert pending["request"] in refused.json()["error"]["message"]
        assert (pending["consumer"], pending["route"], pending["times"]) == ("team-a/search", "team-a/chat", 2)
        assert pending["risk"]["parts"] == [{"policy": "team-a/risk", "signal": "sensitive", "weight": 40}]
        granted = GrantEntry(approval="team-a/once", request=pending["request"], not_after=FAR)
        await plane.reloader.offer(world(granted, revision=2, approval=30))
        assert (await ask(plane, temperature=0.5)).status == 403  # another call than the approved one
        assert (await ask(plane)).status == 200
        assert (await ask(plane)).status == 403
        listed = [one["request"] for one in (await admin(plane, "/-/approvals")).json()["pending"]]
        assert listed.count(pending["request"]) == 1
    records = [json.loads(line) for line in audit.read_bytes().splitlines()]
    calls = [record for record in records if record.get("route") == "team-a/chat"]
    assert [record["risk"]["outcome"] for record in calls] == [
        "Approval",
        "Approval",
        "Approval",
        "Approved",
        "Approval",
    ]
    assert {record["risk"]["score"] for record in calls} == {40}
