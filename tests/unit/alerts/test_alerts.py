"""Thresholds are told once each a window, whichever data plane sees them; webhooks hear of it in the end."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from dataplane.receiver import SILENCE, Receiver, receiver, verified
from dataplane.waiting import until
from pki.authority import Authority
from tidegate_dataplane.alerts import webhook as webhook_module
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.claims import Claims, ClaimUnavailable, ProcessClaims
from tidegate_dataplane.alerts.delivery import Deliveries
from tidegate_dataplane.alerts.recent import Teller
from tidegate_dataplane.alerts.rule import NEVER, AlertRule
from tidegate_dataplane.alerts.webhook import Webhook
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import NotifyEntry
from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.upstream import UpstreamClient

NOW = 1_800_000_000.0
START, END = NOW - 3600, NOW + 3600
SECRET = b"a-webhook-secret-of-this-test"
SCOPE = "team-a/search"


def rule(url: str = "", *, percents: tuple[int, ...] = (80, 100), ca: str = "", credential: str = "hook") -> AlertRule:
    notify = NotifyEntry(url=url, credential=credential, ca_bundle=ca) if url else None
    return AlertRule("team-a/monthly Tokens", "team-a/monthly", "Tokens per Month", "Tokens", percents, True, notify)


@asynccontextmanager
async def alerting(
    claims: Claims | None = None,
    *,
    give_up: float = 30.0,
    secret: bytes = SECRET,
    claim_seconds: float = 15.0,
    looks: tuple[float, ...] = (20.0,),
    unclaimed: float = 60.0,
) -> AsyncIterator[Alerts]:
    """The alerts of one data plane, with pauses of milliseconds."""
    credentials = Credentials()
    credentials.replace("memory", {"hook": secret} if secret else {})
    client = UpstreamClient()
    found = Alerts(
        gateway="default",
        cluster=lambda: "eu",
        claims=claims or ProcessClaims(),
        deliveries=Deliveries(
            Webhook(client, credentials, now=lambda: NOW),
            make_backoff=lambda: Backoff(0.01, 0.05),
            give_up_seconds=give_up,
        ),
        now=lambda: NOW,
        claim_seconds=claim_seconds,
        looks_seconds=looks,
        unclaimed_seconds=unclaimed,
    )
    found.start()
    try:
        yield found
    finally:
        await found.aclose()
        await client.aclose()


def told(alerts: Alerts) -> list[tuple[int, Teller]]:
    return [(noted.alert.threshold, noted.told) for noted in alerts.recent.after(0)]


async def test_each_threshold_is_told_once_a_window_and_named_in_the_metric() -> None:
    async with alerting() as alerts:
        watched = rule()
        assert alerts.note(watched, SCOPE, START, END, 799, 1000) == 800
        assert alerts.recent.seq == 0
        assert alerts.note(watched, SCOPE, START, END, 800, 1000) == 1000
        for used in (801, 950, 999):
            assert alerts.note(watched, SCOPE, START, END, used, 1000) == 1000
        assert alerts.note(watched, SCOPE, START, END, 1200, 1000) == NEVER
        await until(lambda: told(alerts) == [(80, Teller.HERE), (100, Teller.HERE)])
        assert alerts.note(watched, SCOPE, END, END + 7200, 900, 1000) == 1000
        await until(lambda: alerts.fired.values == {("team-a/monthly", "80"): 2, ("team-a/monthly", "100"): 1})


async def test_windows_of_a_second_alert_once_a_minute() -> None:
    async with alerting() as alerts:
        minute = NOW // 60 * 60
        for second in range(120):
            alerts.note(rule(percents=(80,)), SCOPE, minute + second, minute + second + 1, 900, 1000)
        await until(lambda: alerts.fired.values == {("team-a/monthly", "80"): 2})
        assert [noted.alert.window_start for noted in alerts.recent.after(0)] == [minute, minute + 60]


async def test_what_is_crossed_before_the_start_is_told_after_it() -> None:
    client, credentials = UpstreamClient(), Credentials()
    webhook = Webhook(client, credentials, now=lambda: NOW)
    alerts = Alerts(
        gateway="default", cluster=lambda: "", claims=ProcessClaims(), deliveries=Deliveries(webhook), now=lambda: NOW
    )
    alerts.note(rule(), SCOPE, START, END, 900, 1000)
    assert told(alerts) == [(80, Teller.PENDING)]
    alerts.start()
    await until(lambda: told(alerts) == [(80, Teller.HERE)])
    await alerts.aclose()


async def test_one_of_six_data_planes_tells(caplog: pytest.LogCaptureFixture) -> None:
    shared = ProcessClaims()
    async with receiver() as hook, AsyncExitStack() as stack:
        planes = [await stack.enter_async_context(alerting(shared)) for _ in range(6)]
        with caplog.at_level(logging.WARNING):
            for plane in planes:
                plane.note(rule(hook.url), SCOPE, START, END, 900, 1000)
            await until(lambda: hook.came and all(told(plane)[0][1] is not Teller.PENDING for plane in planes))
        tellers = sorted(told(plane)[0][1] for plane in planes)
        assert tellers == [*[Teller.ELSEWHERE] * 5, Teller.HERE]
        assert sum(sum(plane.fired.values.values()) for plane in planes) == 1
        assert len(hook.came) == 1
    lines = [record.message for record in caplog.records]
    assert lines == [f"Quota team-a/monthly: 80 % of Tokens per Month used by {SCOPE} (900 of 1000)"]


async def test_a_secret_may_be_any_bytes() -> None:
    secret = b" \x00\xff\xfe not for a header\n "
    async with receiver() as hook, alerting(secret=secret) as alerts:
        alerts.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: hook.came)
        assert verified(hook.came[0], secret)


async def test_a_receiver_can_tell_that_it_is_us() -> None:
    async with receiver() as hook, alerting() as alerts:
        alerts.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: hook.came)
        asked = hook.came[0]
        assert verified(asked, SECRET)
        assert not verified(asked, b"another-secret")
        assert asked.target == "/hooks/quota"
        assert asked.header("x-tidegate-timestamp") == str(int(NOW))
        assert asked.json == {
            "id": asked.header("x-tidegate-event-id"),
            "gateway": "default",
            "cluster": "eu",
            "quota": "team-a/monthly",
            "limit": "Tokens per Month",
            "unit": "Tokens",
            "scope": SCOPE,
            "threshold": 80,
            "used": 900,
            "amount": 1000,
            "windowStart": int(START),
            "windowEnd": int(END),
            "at": int(NOW),
        }
        assert SECRET.decode() not in json.dumps(asked.headers) + asked.body.decode()
        await until(lambda: alerts.deliveries.values == {("team-a/monthly", "delivered"): 1})


async def test_it_is_sent_until_it_is_taken_with_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "ATTEMPT_SECONDS", 0.2)
    async with receiver([500, SILENCE, 302, 429]) as hook, alerting() as alerts:
        alerts.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: alerts.deliveries.values)
        assert alerts.deliveries.values == {("team-a/monthly", "delivered"): 1}
        assert len(hook.came) == 5
        assert len(set(hook.ids)) == 1
        assert all(verified(asked, SECRET) for asked in hook.came)
        assert {asked.target for asked in hook.came} == {"/hooks/quota"}, "a redirect was followed"
        assert alerts.recent.last(1)[0].webhook == "delivered"


async def test_a_receiver_that_never_takes_it_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with receiver([503] * 1000) as hook, alerting(give_up=0.2) as alerts:
        hook.path = "/hooks/a-token-in-the-path"
        alerts.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: alerts.deliveries.values == {("team-a/monthly", "failed"): 1})
        assert len(hook.came) > 1
        assert alerts.recent.last(1)[0].webhook == "failed: answered 503"
    assert "answered 503" in caplog.text
    assert "a-token-in-the-path" not in caplog.text
    assert SECRET.decode() not in caplog.text


async def test_without_its_secret_nothing_is_sent_unsigned() -> None:
    async with receiver() as hook, alerting(secret=b"", give_up=0.1) as alerts:
        alerts.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: alerts.deliveries.values == {("team-a/monthly", "failed"): 1})
        assert hook.came == []


async def test_a_quota_without_a_secret_sends_without_a_signature() -> None:
    async with receiver() as hook, alerting() as alerts:
        alerts.note(rule(hook.url, credential=""), SCOPE, START, END, 900, 1000)
        await until(lambda: hook.came)
        assert hook.came[0].header("x-tidegate-signature") is None


async def test_a_data_plane_that_dies_before_it_delivered_is_followed_by_another() -> None:
    shared = ProcessClaims()
    async with receiver([503] * 1000) as hook, alerting(shared, claim_seconds=0.2, looks=(0.3, 0.3)) as second:
        first_client = AsyncExitStack()
        first = await first_client.enter_async_context(alerting(shared, claim_seconds=0.2))
        watched = rule(hook.url)
        first.note(watched, SCOPE, START, END, 900, 1000)
        await until(lambda: hook.came)
        second.note(watched, SCOPE, START, END, 905, 1000)
        await until(lambda: told(second) == [(80, Teller.ELSEWHERE)])
        await asyncio.sleep(0.4)
        assert told(second) == [(80, Teller.ELSEWHERE)], "the first one is at it still, and keeps its claim"
        _kill(first)
        hook.script.clear()
        before = len(hook.came)
        await until(lambda: told(second) == [(80, Teller.HERE)] and len(hook.came) > before)
        assert len(set(hook.ids)) == 1
        await first_client.aclose()


def _kill(alerts: Alerts) -> None:
    """As kill -9: it neither delivers nor keeps its claims any more."""
    for task in [*alerts._tasks, *alerts._standing]:
        task.cancel()


async def test_what_was_delivered_is_not_sent_again_by_those_who_look() -> None:
    shared = ProcessClaims()
    async with receiver() as hook, AsyncExitStack() as stack:
        planes = [
            await stack.enter_async_context(alerting(shared, claim_seconds=0.05, looks=(0.1, 0.1))) for _ in range(3)
        ]
        for plane in planes:
            plane.note(rule(hook.url), SCOPE, START, END, 900, 1000)
        await until(lambda: hook.came)
        await until(lambda: all(not plane._looks for plane in planes))
        await asyncio.sleep(0.3)
        assert len(hook.came) == 1


class AwayClaims(ProcessClaims):
    """A store that is away until it is told otherwise."""

    away = True

    async def claim(self, name: str, seconds: float) -> bool:
        if self.away:
            raise ClaimUnavailable("the store is away")
        return await super().claim(name, seconds)


async def test_a_store_that_is_away_delays_what_is_told_and_doubles_nothing() -> None:
    shared = AwayClaims()
    async with alerting(shared) as first, alerting(shared) as second:
        for plane in (first, second):
            plane.note(rule(), SCOPE, START, END, 900, 1000)
        await asyncio.sleep(0.05)
        assert told(first) == told(second) == [(80, Teller.PENDING)]
        shared.away = False
        await until(lambda: {told(first)[0][1], told(second)[0][1]} == {Teller.HERE, Teller.ELSEWHERE})


async def test_a_store_that_stays_away_is_not_waited_for_for_ever() -> None:
    async with alerting(AwayClaims(), unclaimed=0.1) as alerts:
        alerts.note(rule(), SCOPE, START, END, 900, 1000)
        await until(lambda: told(alerts) == [(80, Teller.HERE)])


async def test_a_receiver_that_is_silent_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "ATTEMPT_SECONDS", 5.0)
    async with receiver([SILENCE] * 100) as silent, receiver() as well, alerting() as alerts:
        for number in range(50):
            alerts.note(rule(silent.url), f"team-a/app-{number}", START, END, 900, 1000)
        alerts.note(rule(well.url), SCOPE, START, END, 1000, 1000)
        await until(lambda: len(well.came) == 2, seconds=2)
        assert len(silent.came) <= 4


async def test_thousands_that_cross_at_once_are_all_told_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    async with alerting() as alerts:
        watched, waiting = rule(percents=(80,)), {f"team-a/app-{number}": 0 for number in range(5_000)}
        with caplog.at_level(logging.WARNING):
            async with asyncio.timeout(20):
                while waiting:
                    # As a ledger does: it tells again while the answer is not beyond the use.
                    waiting = {
                        scope: least
                        for scope in waiting
                        if (least := alerts.note(watched, scope, START, END, 900, 1000)) <= 900
                    }
                    await asyncio.sleep(0)
        await until(lambda: alerts.fired.values == {("team-a/monthly", "80"): 5_000})
        assert len(caplog.records) <= 21
        assert len(alerts.recent.after(0)) == 1_000


async def _https(hook: Receiver, authority: Authority, directory: Path, name: str) -> asyncio.Server:
    issued = authority.issue(name, [name])
    (directory / "tls.crt").write_bytes(issued.certificate)
    (directory / "tls.key").write_bytes(issued.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    assert hook.server is not None
    return await asyncio.start_server(hook.server.serve, "127.0.0.1", 0, ssl=context)


@pytest.mark.parametrize(
    ("name", "trusted", "arrives"), [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("other", True, False)]
)
async def test_https_is_verified(tmp_path: Path, name: str, trusted: bool, arrives: bool) -> None:
    authority, stranger = Authority.create("of the receiver"), Authority.create("of nobody")
    async with receiver() as hook, alerting(give_up=0.3) as alerts:
        server = await _https(hook, authority, tmp_path, name)
        port = server.sockets[0].getsockname()[1]
        ca = (authority if trusted else stranger).pem.decode()
        alerts.note(rule(f"https://127.0.0.1:{port}/x", ca=ca), SCOPE, START, END, 900, 1000)
        result = "delivered" if arrives else "failed"
        await until(lambda: alerts.deliveries.values == {("team-a/monthly", result): 1})
        assert len(hook.came) == int(arrives)
        server.close()


async def test_whoever_waits_for_the_next_alert_hears_of_it_at_once() -> None:
    async with alerting() as alerts:
        waiting = asyncio.create_task(alerts.recent.wait_beyond(0))
        await asyncio.sleep(0)
        assert not waiting.done()
        alerts.note(rule(), SCOPE, START, END, 900, 1000)
        await asyncio.wait_for(waiting, 1)
