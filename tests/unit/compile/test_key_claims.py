"""Rivals are noticed one consumer at a time exactly where a look at all of them would find some."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, Source
from tidegate_operator.compile.consumer_keys import KeyClaims

HASHES = st.sampled_from(["", "a", "b", "c", "d"])
KEYS = st.lists(
    st.builds(lambda sha256, previous: KeyEntry("k", sha256, previous=previous), HASHES, HASHES), max_size=3
)


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), KEYS)), max_size=30))
def test_rivals_are_noticed_as_consumers_come_change_and_go(edits: list[tuple[int, list[KeyEntry] | None]]) -> None:
    claims = KeyClaims()
    consumers: dict[int, ConsumerEntry] = {}
    for number, keys in edits:
        old = consumers.pop(number, None)
        new = None if keys is None else ConsumerEntry(Source("a", str(number), 1), keys=tuple(keys))
        claims.replace(old, new)
        if new is not None:
            consumers[number] = new
        hashes = [
            digest
            for entry in consumers.values()
            for key in entry.keys
            for digest in (key.sha256, key.previous)
            if digest
        ]
        assert claims.rivals == (len(hashes) != len(set(hashes)))
