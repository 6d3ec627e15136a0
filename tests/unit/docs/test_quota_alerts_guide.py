"""The guide to alerts of quotas: its receiver's code takes what a data plane sends, and nothing else."""

import re
from pathlib import Path
from typing import Any

import yaml

from dataplane.receiver import receiver
from dataplane.waiting import until
from tidegate_crds.v1alpha1.quota import Quota
from tidegate_dataplane.alerts.alert import Alert
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.claims import ProcessClaims
from tidegate_dataplane.alerts.delivery import AT_ONCE, GIVE_UP_SECONDS, PAUSES, QUEUED, Deliveries
from tidegate_dataplane.alerts.rule import alert_rule
from tidegate_dataplane.alerts.webhook import ATTEMPT_SECONDS, Webhook
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    NotifyEntry,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.upstream import UpstreamClient

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "quota-alerts.md").read_text()
NOW = 1_800_000_000.0
SECRET = b"a-webhook-secret-of-this-test"


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


def _verify() -> Any:
    scope: dict[str, Any] = {}
    exec(_block("python"), scope)
    return scope["verify"]


async def test_the_receivers_code_takes_a_real_alert_and_no_other() -> None:
    credentials, client = Credentials(), UpstreamClient()
    credentials.replace("memory", {"hook": SECRET})
    alerts = Alerts(
        gateway="default",
        cluster=lambda: "aws-eu",
        claims=ProcessClaims(),
        deliveries=Deliveries(Webhook(client, credentials, now=lambda: NOW)),
        now=lambda: NOW,
    )
    alerts.start()
    async with receiver() as hook:
        limit = LimitEntry(Unit.COST, 5_000_000_000, WindowEntry(calendar=CalendarPeriod.MONTH), alert_at=(80,))
        notify = NotifyEntry(url=hook.url, credential="hook")
        entry = QuotaEntry(Source("search", "monthly", 1), (), QuotaScope.TEAM, (limit,), notify=notify)
        rule = alert_rule(entry, limit, "search/monthly Cost")
        assert rule is not None
        alerts.note(rule, "search/ranking", NOW - 60, NOW + 60, 4_003_120_000, limit.amount)
        await until(lambda: hook.came)
        asked = hook.came[0]
    await alerts.aclose()
    await client.aclose()
    verify, headers = _verify(), dict(asked.headers)
    assert verify(headers, asked.body, SECRET, NOW)
    assert not verify(headers, asked.body + b" ", SECRET, NOW)
    assert not verify(headers, asked.body, b"another", NOW)
    assert not verify(headers, asked.body, SECRET, NOW + 301)
    assert not verify(headers | {"x-tidegate-timestamp": str(int(NOW) + 1)}, asked.body, SECRET, NOW)
    assert not verify({}, asked.body, SECRET, NOW)
    shown = set(re.findall(r'"(\w+)": ', _block("json")))
    assert shown == set(asked.json) == set(Alert.__struct_encode_fields__)


def test_the_quota_is_one() -> None:
    declared = yaml.safe_load(_block("yaml"))
    assert Quota.model_validate({"spec": declared["spec"]}).spec.limits[0].alert_at == [50, 80, 100]


def test_the_numbers_are_those_of_the_program() -> None:
    assert (ATTEMPT_SECONDS, GIVE_UP_SECONDS, PAUSES, AT_ONCE, QUEUED) == (10.0, 300.0, (1.0, 60.0), 4, 256)
