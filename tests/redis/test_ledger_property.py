"""Whatever data planes do, and whatever happens to their batches: what they use together never passes the limit,
and what the store counts in the end is the sum of what each of them used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store_parts.model import Counter, Plane, truth
from store_parts.script import ScriptServer
from tidegate_dataplane.store.protocol import Kind, Status

COUNTERS = (
    Counter(b"w" * 16, Kind.WINDOW, limit=100, width=60_000),
    Counter(b"s" * 16, Kind.SLIDING, limit=100, width=2_000, slots=6),
    Counter(b"g" * 16, Kind.GAUGE, limit=7),
)
PLANES = 3
_plane = st.integers(0, PLANES - 1)
_amount = st.sampled_from([1, 10, 30, 60])
_step = st.one_of(
    st.tuples(st.just("reserve"), _plane, _amount, st.sampled_from([0, 0, 50, 100]), st.booleans()),
    st.tuples(st.just("reserve"), _plane, _amount, st.sampled_from([0, 0, 50, 100]), st.just(False)),
    st.tuples(st.just("spend"), _plane, _amount),
    st.tuples(st.just("settle"), _plane, st.sampled_from([0, 5, 30, 70])),
    st.tuples(st.just("report"), _plane, st.booleans()),
    st.tuples(st.just("give_back"), _plane),
    st.tuples(st.just("replay"), _plane, st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 700, 1_999, 2_000, 5_000, 13_000])),
    # Long enough for the others to be taken for dead.
    st.tuples(st.just("silence"), _plane),
    st.tuples(st.just("lose"), st.sampled_from(["all", "some", "nothing"]), st.permutations(range(PLANES))),
)


@dataclass
class World:
    """The planes, the store, and what the model knows about them."""

    server: ScriptServer
    counter: Counter
    planes: list[Plane] = field(default_factory=list)
    overshoot: int = 0
    snapshot: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.restore({})
        self.planes = [Plane(self.server, f"plane{index}") for index in range(PLANES)]
        self.declare_all(range(PLANES))
        self.server.now_ms += 3_000
        self.declare_all(range(PLANES))

    def declare_all(self, order: Any) -> None:
        for index in order:
            assert self.planes[index].declare()

    def step(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])
        for plane in self.planes:
            plane.forget_old()
        total = truth(self.planes, self.counter, self.server.now_ms)
        assert total <= self.counter.limit + self.overshoot

    def sized(self, amount: int) -> int:
        return amount if self.counter.kind is not Kind.GAUGE else 1 + amount // 20

    def reserve(self, plane: int, amount: int, want: int, lost: bool) -> None:
        need = self.sized(amount)
        result = self.planes[plane].reserve(self.counter, need, want=want, lost=lost)
        if result is not None and result.status == Status.REFUSED:
            assert result.total + need > self.counter.limit, "refused although it fits"

    def spend(self, plane: int, amount: int) -> None:
        self.planes[plane].spend_spare(self.counter, self.sized(amount))

    def settle(self, plane: int, actual: int) -> None:
        self.overshoot += self.planes[plane].settle(self.counter, actual)

    def report(self, plane: int, lost: bool) -> None:
        self.planes[plane].exchange([], lost=lost)

    def give_back(self, plane: int) -> None:
        sender, slot = self.planes[plane], self.counter.slot(self.server.now_ms)
        if (self.counter, slot) in sender.books:
            sender.exchange([(self.counter, sender.line(self.counter, slot, keep_spare=False))])

    def silence(self, speaker: int) -> None:
        for _ in range(4):
            self.server.now_ms += 4_000
            self.planes[speaker].exchange([])

    def replay(self, plane: int, back: int) -> None:
        """An old batch arrives late, or a second time."""
        sent = self.planes[plane].sent
        if len(sent) > back:
            self.server.call(sent[-1 - back])

    def wait(self, milliseconds: int) -> None:
        self.server.now_ms += milliseconds

    def lose(self, how: str, order: list[int]) -> None:
        """The server restarts without its data, with old data, or as it was; then all planes come back, while the
        first ones already ask for more."""
        if how == "all":
            self.server.restore({})
        elif how == "some":
            self.server.restore(self.snapshot)
        self.server.run += "+"
        for plane in self.planes:
            plane.fresh = True
        for index in order:
            plane = self.planes[index]
            assert plane.reserve(self.counter, 1) is None, "served a plane that has not declared"
            assert plane.declare()
            plane.reserve(self.counter, self.sized(30))
        self.server.now_ms += 1_000
        self.snapshot = self.server.snapshot()

    def settle_everything(self) -> None:
        for plane in self.planes:
            while any(book.held for book in plane.books.values()):
                plane.settle(self.counter, 1)
            for book in plane.books.values():
                book.granted = book.firm
            plane.exchange([])


# One has seen more than is left, all come back in time, and nobody asks before the time for that is over.
_LATE: list[tuple[Any, ...]] = [
    ("reserve", 0, 1, 50, False),
    ("reserve", 1, 1, 0, False),
    ("give_back", 0),
    ("lose", "all", [0, 1, 2]),
    ("wait", 13_000),
    ("reserve", 0, 1, 0, False),
]


@example(counter=COUNTERS[0], steps=_LATE)
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(counter=st.sampled_from(COUNTERS), steps=st.lists(_step, min_size=25, max_size=60))
def test_never_over_the_limit_and_nothing_is_lost(
    script: ScriptServer, counter: Counter, steps: list[tuple[Any, ...]]
) -> None:
    world = World(script, counter)
    for step in steps:
        world.step(step)

    world.settle_everything()
    plane, slot = world.planes[0], counter.slot(script.now_ms)
    results = plane.exchange([(counter, plane.line(counter, slot))])
    assert results is not None
    used = sum(
        book.used for each in world.planes for (_, of), book in each.books.items() if counter.live(of, script.now_ms)
    )
    assert (results[0].used, results[0].total) == (used, used)
