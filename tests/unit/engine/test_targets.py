"""In which order targets are tried."""

from collections import Counter

import pytest

from samples.snapshots import backend, route, runtime_of
from tidegate_dataplane.engine import attempts
from tidegate_dataplane.runtime import Route
from tidegate_dataplane.snapshot.entries import TargetEntry


def with_targets(*targets: tuple[str, int, int]) -> Route:
    """A route with targets (name, weight, priority)."""
    backends = [backend(f"team-a/{name}") for name in {name for name, _, _ in targets}]
    entries = tuple(TargetEntry(backend=f"team-a/{name}", weight=w, priority=p) for name, w, p in targets)
    return runtime_of(*backends, route(targets=entries)).routes["team-a/chat"]


def names(targeted: Route, pick: float) -> list[str]:
    return [target.backend.entry.source.name for target in attempts(targeted, pick)]


@pytest.mark.parametrize("pick", [0.0, 0.5, 0.999999])
def test_a_single_target_is_always_it(pick: float) -> None:
    assert names(with_targets(("a", 1, 0)), pick) == ["a"]


def test_first_choices_follow_the_weights() -> None:
    targeted = with_targets(("a", 70, 0), ("b", 20, 0), ("c", 10, 0))
    firsts = Counter(names(targeted, number / 1000)[0] for number in range(1000))
    assert firsts == {"a": 700, "b": 200, "c": 100}


def test_the_others_of_the_tier_follow_heaviest_first_and_then_the_next_tiers() -> None:
    targeted = with_targets(("late", 5, 2), ("c", 10, 0), ("a", 70, 0), ("b", 20, 0), ("spare", 1, 1))
    assert names(targeted, 0.0) == ["c", "a", "b", "spare", "late"]
    assert names(targeted, 0.5) == ["a", "b", "c", "spare", "late"]
    assert names(targeted, 0.9999) == ["b", "a", "c", "spare", "late"]


def test_a_target_without_weight_is_never_tried() -> None:
    assert names(with_targets(("a", 0, 0), ("b", 1, 0), ("c", 0, 1)), 0.0) == ["b"]
    assert names(with_targets(("a", 0, 0), ("b", 1, 1)), 0.0) == ["b"]
    assert names(with_targets(("a", 0, 0)), 0.0) == []


def test_thirds_leave_no_gap_at_the_end() -> None:
    targeted = with_targets(("a", 1, 0), ("b", 1, 0), ("c", 1, 0))
    assert names(targeted, 0.9999999999999999)[0] == "c"
