"""What the status of a subscription says, and that it changes when its time has come."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tidegate_operator.compile.compiled import Compiled, Served
from tidegate_operator.conditions import (
    NO_STATUS,
    ObjectStatus,
    PlaneReport,
    approval_reason,
    judge,
    next_due,
    parse_status,
    status_body,
)
from tidegate_operator.ingest import CustomObject, seen_object
from tidegate_operator.resources import RESOURCES
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.verdicts import Approval, ApprovalReason, Finding, Reason, Verdict
from tidegate_operator.world import Kind, ObjectKey

KEY = ObjectKey(Kind.SUBSCRIPTION, "team", "chat")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUNS = PlaneReport("a:9090", ready=True, revision=7)
END = int(NOW.timestamp()) + 60


def _verdict(
    reason: ApprovalReason = ApprovalReason.APPROVED, *, end: int | None = None, unresolved: bool = False
) -> Verdict:
    approval = Approval(reason, "In words.", end, "AIApproval models/chat" if end is not None else "")
    found = (Finding(Reason.PLAN_UNKNOWN, "spec.plan", "is not there"),) if unresolved else ()
    return Verdict(KEY, 1, 1, approval=approval, unresolved=found)


def _status(verdict: Verdict, *, now: datetime = NOW, previous: ObjectStatus = NO_STATUS) -> ObjectStatus:
    return judge(verdict, first_revision=7, planes=(RUNS,), previous=previous, now=now)


def _short(status: ObjectStatus, kind: str) -> tuple[str, str]:
    condition = status.condition(kind)
    assert condition is not None
    return condition.status, condition.reason


@pytest.mark.parametrize(
    ("reason", "approved"),
    [
        (ApprovalReason.APPROVED, "True"),
        (ApprovalReason.PENDING, "False"),
        (ApprovalReason.REVOKED, "False"),
        (ApprovalReason.PLAN_UNKNOWN, "False"),
        (ApprovalReason.CONSUMER_UNKNOWN, "False"),
        (ApprovalReason.ROUTE_UNKNOWN, "Unknown"),
    ],
)
def test_the_condition_says_what_became_of_the_wish(reason: ApprovalReason, approved: str) -> None:
    status = _status(_verdict(reason))
    assert [condition.type for condition in status.conditions] == [
        "Accepted",
        "ResolvedRefs",
        "Approved",
        "Programmed",
        "Ready",
    ]
    assert _short(status, "Approved") == (approved, reason)
    # What nobody has granted is no fault: Argo CD shows it as healthy, with the reason.
    assert _short(status, "Ready") == ("True", reason)


def test_a_wish_that_leads_nowhere_is_not_ready() -> None:
    assert _short(_status(_verdict(ApprovalReason.PLAN_UNKNOWN, unresolved=True)), "Ready") == ("False", "PlanUnknown")


def test_other_kinds_have_no_such_condition() -> None:
    status = _status(Verdict(KEY._replace(kind=Kind.ROUTE), 1, 1))
    assert status.condition("Approved") is None
    assert "expires" not in status_body(status)


@pytest.mark.parametrize("reason", [ApprovalReason.APPROVED, ApprovalReason.PENDING])
def test_an_end_that_has_come_is_said(reason: ApprovalReason) -> None:
    verdict = _verdict(reason, end=END)
    before = _status(verdict)
    assert (before.expires, _short(before, "Approved")[1]) == ("2026-03-01T00:01:00Z", reason)
    after = _status(verdict, now=NOW + timedelta(seconds=60), previous=before)
    assert _short(after, "Approved") == ("False", "Expired")
    message = after.conditions[2].message
    assert message.startswith("Ended at 2026-03-01T00:01:00Z (by AIApproval models/chat): set a later notAfter")
    assert verdict.approval is not None
    assert approval_reason(verdict.approval, END) is ApprovalReason.EXPIRED


def test_the_end_survives_the_api() -> None:
    status = _status(_verdict(end=END))
    assert status_body(status)["expires"] == "2026-03-01T00:01:00Z"
    assert parse_status(status_body(status)) == status


def test_the_next_end_is_the_first_that_is_still_to_come() -> None:
    verdicts = [_verdict(end=END), _verdict(end=END - 120), _verdict(end=END + 9), _verdict(), Verdict(KEY, 1, 1)]
    assert next_due(verdicts, NOW) == END
    assert next_due(verdicts, NOW + timedelta(seconds=60)) == END + 9
    assert next_due(verdicts, NOW + timedelta(hours=1)) is None


async def test_a_subscription_is_looked_at_again_when_it_ends(api: Any) -> None:
    clock = [NOW]
    store, may_write = Store(), asyncio.Event()
    may_write.set()
    writer = StatusWriter(
        api,
        store,
        planes=lambda: (RUNS,),
        uses=lambda _: {},
        now=lambda: clock[0],
        may_write=may_write,
        on_change=lambda: None,
    )
    path = RESOURCES[KEY.kind].path(KEY.namespace, KEY.name)
    meta = {"name": KEY.name, "namespace": KEY.namespace, "uid": "u", "generation": 1}
    item = api._store(path, {"metadata": meta, "spec": {}})
    store.see(seen_object(KEY.kind, msgspec.convert(item, CustomObject)))

    def reason() -> str:
        conditions = api.objects[path].get("status", {}).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Approved"), "")

    async def until(wanted: str) -> None:
        for _ in range(1000):
            if reason() == wanted:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"Approved did not become {wanted}")

    def publish(revision: int, verdict: Verdict) -> None:
        writer.published(Compiled((), {KEY: verdict}, {}, Served({})), store.world().resources, revision)

    task = asyncio.create_task(writer.run())
    try:
        writer.planes_changed()
        clock[0] = NOW + timedelta(seconds=59.9)
        publish(7, _verdict(end=END))
        await until("Approved")
        # Nothing is published and nothing is edited any more: only the clock goes on.
        clock[0] = NOW + timedelta(seconds=60)
        await until("Expired")
        # A publication in the very moment of the next end does not make it be missed.
        later = _verdict(end=END + 60)
        publish(8, later)
        await until("Approved")
        clock[0] = NOW + timedelta(seconds=120)
        publish(8, later)
        await until("Expired")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
