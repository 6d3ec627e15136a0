"""The bounded memory of results."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.authenticate.recent import Recent


def test_what_was_used_longest_ago_goes_first() -> None:
    recent: Recent[str] = Recent(2, weight=100)
    recent.put(b"a", "A", 1)
    recent.put(b"b", "B", 1)
    assert recent.get(b"a") == "A"
    recent.put(b"c", "C", 1)
    assert [recent.get(each) for each in (b"a", b"b", b"c")] == ["A", None, "C"]


def test_what_is_too_heavy_is_not_kept_and_pushes_nothing_out() -> None:
    recent: Recent[str] = Recent(10, weight=10)
    recent.put(b"a", "A", 6)
    recent.put(b"b", "B", 11)
    assert (recent.get(b"a"), recent.get(b"b")) == ("A", None)
    recent.put(b"c", "C", 5)
    assert (recent.get(b"a"), recent.get(b"c")) == (None, "C")


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.integers(0, 12), st.booleans())))
def test_neither_bound_is_ever_exceeded(steps: list[tuple[bytes, int, bool]]) -> None:
    recent: Recent[int] = Recent(3, weight=10)
    kept: dict[bytes, int] = {}
    for digest, weight, drop in steps:
        if drop:
            recent.drop(digest)
        else:
            recent.put(digest, weight, weight)
        kept[digest] = weight
        present = [each for each in kept if recent.get(each) is not None]
        assert len(recent) == len(present) <= 3
        assert recent.weight == sum(recent.get(each) or 0 for each in present) <= 10
    recent.clear()
    assert (len(recent), recent.weight) == (0, 0)
