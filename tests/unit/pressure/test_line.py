"""Who goes on, who is turned away: the order of a line."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.pressure.line import RANKS, SHARE_BELOW, Line, Place
from tidegate_dataplane.snapshot.entries import Priority


def place(consumer: str, priority: Priority = Priority.NORMAL) -> Place:
    return Place(consumer, RANKS[priority])


def joined(line: Line[Place], *places: Place) -> list[Place]:
    for each in places:
        assert line.join(each) is None
    return list(places)


def test_higher_priorities_go_first() -> None:
    line: Line[Place] = Line(10)
    low, normal, high, critical = joined(line, *(place("a", priority) for priority in Priority))
    assert [line.take() for _ in range(4)] == [critical, high, normal, low]


def test_consumers_take_turns_however_much_one_has_waiting() -> None:
    line: Line[Place] = Line(100)
    joined(line, *(place("flood") for _ in range(50)), place("a"), place("b"), place("a"))
    assert [line.take().consumer for _ in range(6)] == ["flood", "a", "b", "flood", "a", "flood"]


def test_calls_of_one_consumer_keep_their_order() -> None:
    line: Line[Place] = Line(10)
    calls = joined(line, *(place("a") for _ in range(5)))
    assert [line.take() for _ in range(5)] == calls


def test_who_has_least_under_way_goes_first() -> None:
    line: Line[Place] = Line(10)
    joined(line, place("busy"), place("idle"), place("some"))
    assert [line.take({"busy": 5, "some": 1}).consumer for _ in range(3)] == ["idle", "some", "busy"]


def test_no_priority_starves_a_lower_one() -> None:
    line: Line[Place] = Line(1000)
    for _ in range(200):
        joined(line, *(place("a", priority) for priority in Priority))
    taken = Counter(line.take().rank for _ in range(SHARE_BELOW * SHARE_BELOW))
    assert taken[RANKS[Priority.CRITICAL]] == SHARE_BELOW * (SHARE_BELOW - 1)
    assert taken[RANKS[Priority.HIGH]] == SHARE_BELOW - 1
    assert taken[RANKS[Priority.NORMAL]] == 1


def test_a_full_line_turns_away_the_newest_of_the_lowest_priority() -> None:
    line: Line[Place] = Line(3)
    _, _, newest = joined(line, place("a", Priority.HIGH), place("b", Priority.LOW), place("b", Priority.LOW))
    assert line.join(place("c", Priority.NORMAL)) is newest
    lowest = place("c", Priority.LOW)
    assert line.join(lowest) is not None
    assert len(line) == 3


def test_a_lower_priority_pushes_nobody_out() -> None:
    line: Line[Place] = Line(2)
    joined(line, place("a"), place("a"))
    low = place("b", Priority.LOW)
    assert line.join(low) is low
    assert not low.standing


def test_among_equals_the_excess_of_one_gives_way_and_no_other() -> None:
    line: Line[Place] = Line(4)
    *_, newest = joined(line, place("modest"), place("flood"), place("flood"), place("flood"))
    another = place("flood")
    assert line.join(another) is another, "the flood cannot push out anybody"
    assert line.join(place("late")) is newest
    assert line.join(place("late")) is not None, "two each is as fair as it gets"
    assert Counter(line.take().consumer for _ in range(4))["modest"] == 1


def test_whoever_leaves_is_not_taken() -> None:
    line: Line[Place] = Line(4)
    first, second, third = joined(line, place("a"), place("b"), place("a"))
    line.leave(first)
    line.leave(first)
    line.leave(second)
    assert line.take() is third
    assert len(line) == 0


def test_a_place_that_is_put_back_is_the_next() -> None:
    line: Line[Place] = Line(2)
    first, *_ = joined(line, place("a"), place("b"))
    assert line.take() is first
    joined(line, place("c"))
    line.put_back(first)
    assert line.take() is first


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from("abcdef"), st.sampled_from(list(Priority))),
        st.tuples(st.sampled_from(["take", "leave"]), st.just(""), st.just(Priority.NORMAL)),
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 8))
def test_a_line_loses_nobody_and_never_grows_beyond_its_bound(
    steps: list[tuple[str, str, Priority]], most: int
) -> None:
    line: Line[Place] = Line(most)
    standing: list[Place] = []
    for step, consumer, priority in steps:
        if step == "join":
            new = place(consumer, priority)
            gone = line.join(new)
            standing.append(new)
            if gone is not None:
                standing.remove(gone)
                assert gone.rank == min(each.rank for each in [*standing, gone]), "the lowest gives way"
        elif standing and step == "take":
            standing.remove(line.take())
        elif standing:
            line.leave(standing.pop(len(standing) // 2))
        assert len(line) == len(standing) <= most
        assert sum(line.counts().values()) == len(standing)
    assert {line.take() for _ in range(len(standing))} == set(standing)


@given(st.lists(st.sampled_from(["flood"] * 8 + ["a", "b", "c"]), min_size=1, max_size=200), st.integers(4, 12))
def test_a_full_line_never_holds_less_than_its_share_of_a_modest_consumer(arrivals: list[str], most: int) -> None:
    """Max-min fairness: while a consumer stands with no more than an equal share, none of its calls is pushed out."""
    line: Line[Place] = Line(most)
    waiting: Counter[str] = Counter()
    for consumer in arrivals:
        new = place(consumer)
        gone = line.join(new)
        waiting[consumer] += 1
        if gone is not None:
            waiting[gone.consumer] -= 1
            assert waiting[gone.consumer] + 1 >= max(waiting.values()) or gone is new
            if gone is not new:
                assert waiting[gone.consumer] + 1 > waiting[consumer] - 1
