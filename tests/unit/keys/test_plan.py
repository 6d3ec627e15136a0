"""Which generated keys are due: pure, by the clock that is handed in and by what the Secret says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.apikey import issue_key
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, KeyGeneration, SecretRef, Source
from tidegate_operator.compile.issued import read_issued
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.keys.plan import Plan, Step, data_after, make_plan
from tidegate_operator.world import ConsumerKey, SecretKey

NOW = 1_782_907_200
DAY = 86_400
SECRET = SecretKey("team-a", "app")
OURS = ConsumerKey("team-a", "app", "main")
MONTHLY = KeyGeneration(rotate_ms=30 * DAY * 1000, overlap_ms=2 * DAY * 1000)


def consumer(
    name: str = "app", *, created: int = 0, key: str = "token", generate: KeyGeneration = MONTHLY, **fields: Any
) -> ConsumerEntry:
    entry = KeyEntry("main", secret=SecretRef("app", key), generate=generate, **fields)
    return ConsumerEntry(Source("team-a", name, 1, f"uid-{name}", created), keys=(entry,))


def held(*, age: float = 0, current: str = "the-key-of-now", previous: str = "") -> dict[str, bytes]:
    data = {"token": current.encode(), "token.issued-at": format_timestamp(int(NOW - age)).encode()}
    return data | ({"token.previous": previous.encode()} if previous else {})


def planned(data: dict[str, bytes] | None, *, now: float = NOW, **fields: Any) -> Plan:
    return make_plan([consumer(**fields)], {} if data is None else {SECRET: data}, now)


def steps(plan: Plan) -> list[Step]:
    return [action.step for action in plan.actions]


def test_a_key_that_is_not_there_is_made() -> None:
    assert steps(planned(None)) == steps(planned({})) == steps(planned({"other": b"x"})) == [Step.CREATE]


def test_a_young_key_is_left_alone_until_its_time() -> None:
    plan = planned(held(age=DAY))
    assert (plan.actions, plan.next_due, plan.faults) == ((), NOW + 29 * DAY, {})


def test_an_old_key_is_replaced_and_the_one_before_dropped_in_its_time() -> None:
    assert steps(planned(held(age=30 * DAY - 1))) == []
    assert steps(planned(held(age=30 * DAY))) == [Step.ROTATE]
    young = planned(held(age=DAY, previous="the-key-before"))
    assert (steps(young), young.next_due) == ([], NOW + DAY)
    assert steps(planned(held(age=2 * DAY, previous="the-key-before"))) == [Step.DROP_PREVIOUS]


def test_a_key_that_is_never_to_be_replaced_is_never_due() -> None:
    plan = planned(held(age=10_000 * DAY), generate=KeyGeneration())
    assert (plan.actions, plan.next_due) == ((), None)


@pytest.mark.parametrize(
    "data",
    [
        {"token": b"somebody-elses-key"},
        {"token.previous": b"somebody-elses-value"},
        {"token": b"the-key-of-now", "token.issued-at": b"yesterday"},
        {"token": b"the-key-of-now", "token.issued-at": b"\xff"},
        {"token": b"the-key-of-now", "token.issued-at": b""},
        {"token.issued-at": b"2026"},
    ],
)
def test_what_is_not_understood_is_never_overwritten(data: dict[str, bytes]) -> None:
    assert planned(data, now=NOW + 10_000 * DAY).actions == ()


@pytest.mark.parametrize("fields", [{"revoked": True}, {"not_after": NOW}])
def test_nothing_is_made_for_a_key_that_is_refused_for_good(fields: dict[str, Any]) -> None:
    assert planned(None, **fields).actions == planned(held(age=40 * DAY), **fields).actions == ()


def test_a_key_from_the_future_stops_replacing_and_says_so() -> None:
    plan = planned(held(age=-DAY))
    assert plan.actions == ()
    assert "still to come" in plan.faults[OURS]
    assert planned(held(age=-60)).faults == {}


@given(st.integers(0, 400 * DAY), st.integers(0, 400 * DAY))
def test_a_clock_that_is_set_back_brings_nothing_forward(age: int, back: int) -> None:
    data = held(age=age, previous="the-key-before")
    later, earlier = planned(data), planned(data, now=NOW - back)
    assert {Step.ROTATE} & set(steps(earlier)) <= {Step.ROTATE} & set(steps(later))


def test_of_two_consumers_that_name_one_place_the_older_has_it() -> None:
    plan = make_plan([consumer("app", created=2), consumer("elder", created=1)], {}, NOW)
    assert [action.key.consumer for action in plan.actions] == ["elder"]
    assert "generated for key main of AIConsumer team-a/elder already" in plan.faults[OURS]


def test_a_place_includes_the_names_beside_it() -> None:
    plan = make_plan([consumer("app", created=2, key="token.previous"), consumer("elder", created=1)], {}, NOW)
    assert [action.key.consumer for action in plan.actions] == ["elder"]
    assert OURS in plan.faults


@given(
    rotate=st.integers(1, 50),
    overlap=st.integers(0, 49),
    waits=st.lists(st.integers(0, 60), max_size=12),
)
def test_over_time_each_replaced_key_lives_for_its_overlap(rotate: int, overlap: int, waits: list[int]) -> None:
    """Whatever the operator's pauses: a key never vanishes from one moment to the next, and never outstays."""
    overlap = min(overlap, rotate - 1)
    generate = KeyGeneration(rotate * 1000, overlap * 1000)
    now, data, made = NOW, dict[str, bytes](), 0
    for wait in (0, *waits):
        now += wait
        while plan_now := make_plan([consumer(generate=generate)], {SECRET: data}, now).actions:
            (action,) = plan_now
            before = read_issued(data, "token")
            made += 1
            changes = data_after(action, before, issue_key(made.to_bytes(32)), now)
            data = {name: value for name, value in {**data, **changes}.items() if value is not None}
            after = read_issued(data, "token")
            if action.step is Step.ROTATE:
                assert after.previous == (before.current if overlap else None)
                assert after.current != before.current
                assert after.issued_at == now
            else:
                assert action.step is not Step.DROP_PREVIOUS or now >= (before.issued_at or 0) + overlap
        issued = read_issued(data, "token")
        assert issued.current is not None
        assert issued.issued_at is not None
        assert now < issued.issued_at + rotate
        assert issued.previous is None or now < issued.issued_at + overlap
