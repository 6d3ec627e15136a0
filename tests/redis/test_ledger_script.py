"""What the script of the shared ledger says to single batches, at times that the test sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from store_parts.model import Counter, Plane
from store_parts.script import ScriptServer
from tidegate_dataplane.store.encoding import OK, STALE
from tidegate_dataplane.store.protocol import HOLD_TTL_MS, OWNER_TTL_MS, Kind, Line, Result, Status

HOUR = 3_600_000
DAILY = Counter(b"d" * 16, Kind.WINDOW, limit=100, width=24 * HOUR)
SLIDING = Counter(b"s" * 16, Kind.SLIDING, limit=100, width=1_000, slots=60)
GAUGE = Counter(b"g" * 16, Kind.GAUGE, limit=3)

NewPlane = Callable[[str], Plane]


@pytest.fixture
def new_plane(script: ScriptServer) -> NewPlane:
    """Makes planes that the store knows and grants to."""
    first = Plane(script, "first")
    first.declare()
    script.now_ms += 3_000

    def make(name: str) -> Plane:
        plane = Plane(script, name)
        assert plane.declare()
        return plane

    return make


def one(plane: Plane, line: Line) -> Result:
    return many(plane, [[line]])[0][0]


def many(plane: Plane, decisions: list[list[Line]]) -> list[list[Result]]:
    reply = plane.server.exchange(plane.header(), decisions)
    assert reply.code == OK
    plane.learn(reply.epoch, reply.version, reply.members)
    return reply.results


def line(
    counter: Counter,
    at: int,
    *,
    limit: int | None = None,
    used: int = 0,
    firm: int = 0,
    keep: int = 0,
    need: int = 0,
    want: int = 0,
    slot: int | None = None,
) -> Line:
    """At `at` ms; figures of `slot`, the present one if None."""
    return Line(
        counter.key,
        counter.kind,
        *counter.shape(at),
        counter.slot(at) if slot is None else slot,
        counter.limit if limit is None else limit,
        used,
        firm,
        keep,
        need,
        want,
    )


def bucket(
    *,
    rate_ns: int,
    burst: int,
    need: int = 0,
    want: int = 0,
    tau: int = 0,
    taken_at: int = 0,
    over: int = 0,
    back: int = 0,
) -> Line:
    return Line(b"b" * 16, Kind.BUCKET, rate_ns, burst, tau, taken_at, 0, over, 0, back, need, want)


def test_a_first_plane_is_granted_once_nobody_else_can_be_known(script: ScriptServer) -> None:
    plane = Plane(script, "a")
    assert plane.declare()
    waiting = one(plane, line(DAILY, script.now_ms, need=1))
    assert (waiting.status, waiting.retry_ms > 0) == (Status.REBUILDING, True)
    script.now_ms += 2_500
    assert one(plane, line(DAILY, script.now_ms, need=1)).status == Status.OK


def test_decisions_of_a_batch_add_up_and_each_is_all_or_nothing(script: ScriptServer, new_plane: NewPlane) -> None:
    plane, now = new_plane("a"), script.now_ms
    results = many(
        plane,
        [
            [line(DAILY, now, need=60), line(GAUGE, now, need=2)],
            [line(DAILY, now, need=30), line(GAUGE, now, need=2)],
            [line(DAILY, now, need=50)],
            [line(DAILY, now, need=40)],
        ],
    )
    assert [[result.status for result in each] for each in results] == [
        [Status.OK, Status.OK],
        [Status.NOT_TRIED, Status.REFUSED],
        [Status.REFUSED],
        [Status.OK],
    ]
    assert [each[0].granted for each in results] == [60, 60, 60, 100]


def test_a_report_is_taken_from_the_first_line_of_a_counter_only(script: ScriptServer, new_plane: NewPlane) -> None:
    plane, now = new_plane("a"), script.now_ms
    one(plane, line(DAILY, now, need=50))
    reported = line(DAILY, now, used=20, firm=30, keep=30, need=10)
    results = many(plane, [[reported], [line(DAILY, now, used=20, firm=30, keep=30, need=10)]])
    assert [(each[0].granted, each[0].used) for each in results] == [(40, 20), (50, 20)]


def test_figures_beyond_what_was_granted_are_believed_and_nothing_more_is_granted(
    script: ScriptServer, new_plane: NewPlane
) -> None:
    went_on_alone, other, now = new_plane("a"), new_plane("b"), script.now_ms
    assert one(went_on_alone, line(DAILY, now, used=150, firm=150, keep=150)).total == 150
    assert one(other, line(DAILY, now, need=1)).status == Status.REFUSED
    assert one(went_on_alone, line(DAILY, now, used=90, firm=90, keep=90)).total == 90
    assert one(other, line(DAILY, now, need=10)).status == Status.OK


def test_keeping_more_than_was_granted_raises_nothing(script: ScriptServer, new_plane: NewPlane) -> None:
    assert one(new_plane("a"), line(DAILY, script.now_ms, used=0, firm=5, keep=80)).total == 5


def test_a_batch_that_comes_late_or_twice_changes_nothing(script: ScriptServer, new_plane: NewPlane) -> None:
    plane, now = new_plane("a"), script.now_ms
    header = plane.header()
    early = [[line(DAILY, now, need=40)]]
    assert script.exchange(header, early).code == OK
    again = script.exchange(header, early)
    assert (again.code, again.epoch) == (STALE, header.sequence)
    assert one(plane, line(DAILY, now, keep=40)).total == 40


def test_slices_shrink_as_the_limit_nears_and_stop_when_somebody_is_short(
    script: ScriptServer, new_plane: NewPlane
) -> None:
    plane, other, now = new_plane("a"), new_plane("b"), script.now_ms
    granted, totals = 0, []
    for _ in range(6):
        granted = one(plane, line(DAILY, now, limit=1200, keep=granted, want=1000)).granted
        totals.append(granted)
    steps = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    assert steps[0] == 1200 // 12  # three owners alive, `first` among them
    assert steps == sorted(steps, reverse=True)
    assert one(other, line(DAILY, now, limit=1200, need=1100)).status == Status.REFUSED
    pressed = one(plane, line(DAILY, now, limit=1200, keep=granted, need=1, want=1000))
    assert (pressed.granted, pressed.pressed) == (granted + 1, 1)
    script.now_ms += 4_000
    assert one(plane, line(DAILY, now, limit=1200, keep=granted)).pressed == 0


def test_a_limit_of_minus_one_counts_and_never_refuses(script: ScriptServer, new_plane: NewPlane) -> None:
    result = one(new_plane("a"), line(DAILY, script.now_ms, limit=-1, need=10**12))
    assert (result.status, result.total) == (Status.OK, 10**12)


def test_amounts_up_to_the_largest_are_exact(script: ScriptServer, new_plane: NewPlane) -> None:
    plane, now, most = new_plane("a"), script.now_ms, 9_000_000_000_000_000
    assert one(plane, line(DAILY, now, limit=most, need=most - 1)).total == most - 1
    kept = one(plane, line(DAILY, now, limit=most, used=most - 3, firm=most - 1, keep=most - 1, need=1))
    assert (kept.total, kept.used) == (most, most - 3)
    assert one(plane, line(DAILY, now, limit=most, firm=most, keep=most, need=1)).status == Status.REFUSED


def test_more_than_the_limit_never_fits(script: ScriptServer, new_plane: NewPlane) -> None:
    plane, now = new_plane("a"), script.now_ms
    for counter in (DAILY, SLIDING, GAUGE):
        refused = one(plane, line(counter, now, need=counter.limit + 1))
        assert (refused.status, refused.retry_ms) == (Status.REFUSED, -1)


class TestWindow:
    def test_a_new_window_forgets_the_old_and_late_settlements_are_ignored(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane, old = new_plane("a"), script.now_ms
        one(plane, line(DAILY, old, need=100))
        refused = one(plane, line(DAILY, old, firm=100, keep=100, need=1))
        assert script.now_ms + refused.retry_ms == DAILY.slot(old) + DAILY.width

        script.now_ms = DAILY.slot(old) + DAILY.width
        # The plane's clock is behind: it still speaks of the old window, whose bounds name the next one's end.
        result = one(plane, line(DAILY, old, used=70, firm=70, keep=70, need=5))
        assert (result.status, result.slot) == (Status.OK, script.now_ms)
        assert (result.granted, result.total, result.used) == (5, 5, 0)
        late = one(plane, line(DAILY, script.now_ms, slot=DAILY.slot(old), used=99, firm=99, keep=99))
        assert (late.total, late.used) == (5, 0)

    def test_answers_that_a_plane_never_got_do_not_add_up_in_a_window_it_has_not_seen(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane, old = new_plane("a"), script.now_ms
        script.now_ms += DAILY.width
        for _ in range(3):
            result = one(plane, line(DAILY, old, need=40))
        assert result.total == 40

    def test_a_plane_ahead_of_the_server_is_told_to_look_again(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane, now = new_plane("a"), script.now_ms
        one(plane, line(DAILY, now, need=40))
        ahead = one(plane, line(DAILY, now + DAILY.width, need=1))
        assert ahead.status == Status.BOUNDS_UNKNOWN
        assert one(plane, line(DAILY, now + 3 * DAILY.width, need=1)).status == Status.BOUNDS_UNKNOWN
        assert one(plane, line(DAILY, now, keep=40)).total == 40

    def test_figures_of_a_window_that_has_not_begun_are_not_taken_and_that_is_said(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane, now = new_plane("a"), script.now_ms
        for counter in (DAILY, SLIDING):
            ahead = one(plane, line(counter, now, slot=counter.slot(now + counter.width), used=9, firm=9, keep=9))
            assert (ahead.status, ahead.total) == (Status.BOUNDS_UNKNOWN, 0)

    def test_a_key_goes_soon_after_its_window(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane, now = new_plane("a"), script.now_ms
        one(plane, line(DAILY, now, need=40))
        (key,) = script.redis.scan_iter(b"*" + DAILY.key)
        end = DAILY.slot(now) + DAILY.width
        assert end <= script.redis.pexpiretime(key) <= end + 60_000


class TestSliding:
    def test_the_slot_in_which_the_stretch_began_counts_whole(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane, start = new_plane("a"), script.now_ms
        one(plane, line(SLIDING, start, need=100))
        one(plane, line(SLIDING, start, used=100, firm=100, keep=100))
        refused = one(plane, line(SLIDING, start, used=100, firm=100, keep=100, need=1))
        assert refused.retry_ms == 61_000 - start % 1_000
        script.now_ms = start + refused.retry_ms - 1
        assert one(plane, line(SLIDING, script.now_ms, need=1)).status == Status.REFUSED
        script.now_ms += 1
        assert one(plane, line(SLIDING, script.now_ms, need=100)).status == Status.OK

    def test_what_is_settled_later_corrects_the_slot_it_came_in(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane, start = new_plane("a"), script.now_ms
        one(plane, line(SLIDING, start, need=80))
        script.now_ms += 30_000
        settled = many(
            plane,
            [
                [line(SLIDING, script.now_ms, slot=SLIDING.slot(start), used=10, firm=10, keep=10)],
                [line(SLIDING, script.now_ms, need=90)],
            ],
        )
        assert (settled[1][0].status, settled[1][0].total, settled[1][0].used) == (Status.OK, 100, 10)
        assert (settled[1][0].granted, settled[1][0].slot_total) == (90, 90)
        script.now_ms = start + 62_000
        assert one(plane, line(SLIDING, script.now_ms)).total == 90

    def test_spare_of_an_old_slot_stands_until_it_is_given_back(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane, other, start = new_plane("a"), new_plane("b"), script.now_ms
        granted = one(plane, line(SLIDING, start, want=100)).granted
        assert granted > 0
        script.now_ms += 5_000
        assert one(other, line(SLIDING, script.now_ms)).total == granted
        one(plane, line(SLIDING, script.now_ms, slot=SLIDING.slot(start)))
        assert one(other, line(SLIDING, script.now_ms)).total == 0


class TestBucket:
    def test_burst_then_rate(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane = new_plane("a")
        tenth = {"rate_ns": 100_000_000, "burst": 10}  # ten a second
        assert one(plane, bucket(**tenth, need=10)).status == Status.OK
        refused = one(plane, bucket(**tenth, need=3))
        assert (refused.status, refused.retry_ms, refused.total) == (Status.REFUSED, 300, 10)
        script.now_ms += 299
        assert one(plane, bucket(**tenth, need=3)).status == Status.REFUSED
        script.now_ms += 1
        assert one(plane, bucket(**tenth, need=3)).status == Status.OK
        assert one(plane, bucket(**tenth, need=11)).retry_ms == -1

    def test_a_rate_that_is_no_whole_number_of_microseconds_is_kept_exactly(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane = new_plane("a")
        many(plane, [[bucket(rate_ns=1_500, burst=10_000, need=1)] for _ in range(2_000)])
        assert one(plane, bucket(rate_ns=1_500, burst=10_000)).total == 2_000

    def test_tokens_given_back_are_only_those_that_have_not_flowed_back_meanwhile(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane = new_plane("a")
        tenth = {"rate_ns": 100_000_000, "burst": 10}
        taken = one(plane, bucket(**tenth, need=10)).slot
        assert one(plane, bucket(**tenth, taken_at=taken, back=4)).total == 6
        script.now_ms += 600
        taken = one(plane, bucket(**tenth, need=5)).slot
        script.now_ms += 400
        assert one(plane, bucket(**tenth, taken_at=taken, back=5)).total == 0
        assert one(plane, bucket(**tenth, need=10)).status == Status.OK
        script.now_ms += 300
        one(plane, bucket(**tenth, need=3))
        # Everything of the first ten but three is still owed; giving back what was taken long ago gives nothing.
        assert one(plane, bucket(**tenth, taken_at=taken, back=10)).total == 10

    def test_what_went_beyond_is_debited_whatever_the_room(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane = new_plane("a")
        tenth = {"rate_ns": 100_000_000, "burst": 10}
        assert one(plane, bucket(**tenth, over=15)).total == 15
        assert one(plane, bucket(**tenth, need=1)).retry_ms == 600

    def test_leased_tokens_leave_room_for_what_flows_back_while_they_live(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        plane = new_plane("a")
        lease = {"rate_ns": 100_000_000, "burst": 10, "tau": 200_000}
        assert one(plane, bucket(**lease, need=9)).status == Status.REFUSED
        assert one(plane, bucket(**lease, need=8)).status == Status.OK


class TestSilence:
    def test_what_a_plane_that_is_cut_off_may_have_spent_is_not_given_to_others(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        silent, other, now = new_plane("a"), new_plane("b"), script.now_ms
        one(silent, line(DAILY, now, limit=-1, want=100))
        one(silent, line(DAILY, now, used=10, firm=30, keep=100))
        script.now_ms += HOLD_TTL_MS - 1_000
        many(other, [])
        assert one(other, line(DAILY, now, need=1)).status == Status.REFUSED
        returned = one(silent, line(DAILY, now, used=60, firm=70, keep=70))
        assert (returned.granted, returned.total) == (70, 70)
        assert one(other, line(DAILY, now, need=30)).status == Status.OK

    def test_spare_that_was_taken_back_does_not_come_back(self, script: ScriptServer, new_plane: NewPlane) -> None:
        silent, other, now = new_plane("a"), new_plane("b"), script.now_ms
        one(silent, line(DAILY, now, limit=-1, want=100))
        one(silent, line(DAILY, now, used=10, firm=10, keep=100))
        for _ in range(HOLD_TTL_MS // 10_000 + 1):
            script.now_ms += 10_000
            many(other, [])
        assert one(other, line(DAILY, now, need=91)).status == Status.REFUSED
        assert one(other, line(DAILY, now, need=90)).status == Status.OK
        returned = one(silent, line(DAILY, now, used=10, firm=10, keep=100))
        assert (returned.granted, returned.total) == (10, 100)

    def test_while_the_store_hung_nobody_died(self, script: ScriptServer, new_plane: NewPlane) -> None:
        one_plane, other, now = new_plane("a"), new_plane("b"), script.now_ms
        one(one_plane, line(DAILY, now, need=90))
        script.now_ms += 2 * HOLD_TTL_MS
        assert one(other, line(DAILY, now, need=11)).status == Status.REFUSED
        assert script.exchange(other.header(), []).owners == 3

    def test_after_hours_only_what_was_used_counts_and_a_gauge_forgets(
        self, script: ScriptServer, new_plane: NewPlane
    ) -> None:
        silent, other, now = new_plane("a"), new_plane("b"), script.now_ms
        one(silent, line(DAILY, now, need=90))
        many(silent, [[line(DAILY, now, used=10, firm=90, keep=90)], [line(GAUGE, now, need=3)]])
        for _ in range(HOLD_TTL_MS // 10_000):
            script.now_ms += 10_000
            assert one(other, line(GAUGE, now, need=1)).status == Status.REFUSED
        script.now_ms += 3_000
        assert [each[0].status for each in many(other, [[line(DAILY, now, need=90)], [line(GAUGE, now, need=3)]])] == [
            Status.OK,
            Status.OK,
        ]

    def test_the_number_of_owners_alive_follows_who_speaks(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane = new_plane("a")
        reply = script.exchange(plane.header(), [])
        assert reply.owners == 2
        for _ in range(4):
            script.now_ms += OWNER_TTL_MS // 3
            reply = script.exchange(plane.header(), [])
        assert (reply.owners, reply.members) == (1, [plane.owner])


class TestMemory:
    def test_a_calendar_counter_of_six_owners_stays_small(self, script: ScriptServer, new_plane: NewPlane) -> None:
        now = script.now_ms
        for index in range(6):
            plane = new_plane(f"plane{index}")
            one(plane, line(DAILY, now, limit=10**9, need=4_000_000))
            one(plane, line(DAILY, now, limit=10**9, used=3_000_000, firm=3_900_000, keep=4_000_000))
        (key,) = script.redis.scan_iter(b"*" + DAILY.key)
        assert 0 < (script.redis.memory_usage(key, samples=0) or 0) <= 250

    def test_a_gauge_that_nobody_holds_takes_nothing(self, script: ScriptServer, new_plane: NewPlane) -> None:
        plane, now = new_plane("a"), script.now_ms
        one(plane, line(GAUGE, now, need=1))
        one(plane, line(GAUGE, now))
        assert list(script.redis.scan_iter(b"*" + GAUGE.key)) == []
