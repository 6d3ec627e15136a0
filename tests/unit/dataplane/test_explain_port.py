"""`/-/explain` of a running data plane: as text, for a caller's headers, and never with a secret."""

import json
from typing import Any

from dataplane.factory import KEY, OTHER_KEY, bundle_of, policy, shard
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, exchange, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.entries import Effect, RuleEntry

NEEDS_ROLE = RuleEntry(name="staff", effect=Effect.ALLOW, roles=("staff",))
TEXT = "text/plain"


async def ask(plane: DataPlane, accept: str = "application/json", **question: Any) -> RawAnswer:
    body = json.dumps({"model": "chat-fast", **question}).encode()
    data = request(body, path="/-/explain", headers=(f"accept: {accept}",))
    return await exchange(plane, data, port=plane.admin_address.port, deadline=60)


async def test_text_says_what_json_holds() -> None:
    async with running(bundle_of(shard(policies=[policy(rules=(NEEDS_ROLE,))]), revision=4)) as plane:
        told = await ask(plane, TEXT, consumer="team-a/search")
        assert told.headers["content-type"].startswith("text/plain")
        lines = told.text.splitlines()
        assert lines[0].startswith("DENIED 403 permission_denied: authorization: AIPolicy team-a/open")
        assert "staff: the caller has [], the rule names [staff]" in lines[0]
        assert "  revision  4" in lines
        assert "  - give AIConsumer team-a/search the role staff (spec.roles)" in lines
        body = (await ask(plane, consumer="team-a/search")).json()
        assert [change["text"] for change in body["remedies"][0]["changes"]] == [
            "give AIConsumer team-a/search the role staff (spec.roles)"
        ]
        assert (await ask(plane, consumer="team-a/search", remedies=False)).json()["remedies"] == []


async def test_a_callers_headers_say_who_it_is_and_are_not_repeated() -> None:
    looks = RuleEntry(name="looks", effect=Effect.DENY, when="request.headers['authorization'] == 'none'")
    async with running(bundle_of(shard(policies=[policy(rules=(looks,))]))) as plane:
        for key in (KEY, OTHER_KEY):
            for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
                told = await ask(plane, TEXT, headers=headers)
                assert told.status == 200
                assert key not in told.text
                assert ("AIConsumer team-a/search by APIKey" in told.text) is (key == KEY)


async def test_questions_about_time() -> None:
    night = RuleEntry(name="no-nights", effect=Effect.DENY, when="now.getHours('UTC') < 7")
    async with running(bundle_of(shard(policies=[policy(rules=(night,))]))) as plane:
        for at, admitted in (("2026-07-01T03:00:00Z", False), ("2026-07-01T12:00:00+02:00", True), (1.8e9, True)):
            body = (await ask(plane, consumer="team-a/search", time=at)).json()
            assert body["admitted"] is admitted
        refused = await ask(plane, consumer="team-a/search", time="tomorrow")
        assert (refused.status, "time 'tomorrow' is no time" in refused.json()["error"]) == (400, True)
