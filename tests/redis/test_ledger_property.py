"""Whatever data planes do, and whatever happens to their batches: what they use together never passes the limit,
and what the store counts in the end is the sum of what each of them used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from store_parts.model import Counter, Plane, truth
from store_parts.script import ScriptServer
from tidegate_dataplane.store.protocol import Kind

COUNTERS = (
    Counter(b"w" * 16, Kind.WINDOW, limit=100, width=60_000),
    Counter(b"s" * 16, Kind.SLIDING, limit=100, width=2_000, slots=6),
    Counter(b"g" * 16, Kind.GAUGE, limit=7),
)
PLANES = 3
_which = st.integers(0, len(COUNTERS) - 1)
_plane = st.integers(0, PLANES - 1)
_amount = st.integers(1, 60)
_step = st.one_of(
    st.tuples(st.just("reserve"), _plane, _which, _amount, st.integers(0, 80), st.booleans()),
    st.tuples(st.just("spend"), _plane, _which, _amount),
    st.tuples(st.just("settle"), _plane, _which, st.integers(0, 100)),
    st.tuples(st.just("report"), _plane, st.booleans()),
    st.tuples(st.just("give_back"), _plane, _which),
    st.tuples(st.just("replay"), _plane, st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 700, 1_999, 5_000, 13_000, 16_000, 31_000, 59_000])),
    st.tuples(st.just("lose"), st.sampled_from(["all", "some", "nothing"]), st.permutations(range(PLANES))),
)


@dataclass
class World:
    """The planes, the store, and what the model knows about them."""

    server: ScriptServer
    planes: list[Plane] = field(default_factory=list)
    overshoot: dict[Counter, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
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
        for counter in COUNTERS:
            total = truth(self.planes, counter, self.server.now_ms)
            assert total <= counter.limit + self.overshoot[counter], counter

    def reserve(self, plane: int, which: int, amount: int, want: int, lost: bool) -> None:
        counter = COUNTERS[which]
        self.planes[plane].reserve(counter, amount if which < 2 else 1 + amount % 3, want=want, lost=lost)

    def spend(self, plane: int, which: int, amount: int) -> None:
        self.planes[plane].spend_spare(COUNTERS[which], amount)

    def settle(self, plane: int, which: int, actual: int) -> None:
        counter = COUNTERS[which]
        self.overshoot[counter] += self.planes[plane].settle(counter, actual)

    def report(self, plane: int, lost: bool) -> None:
        self.planes[plane].exchange([], lost=lost)

    def give_back(self, plane: int, which: int) -> None:
        sender, counter = self.planes[plane], COUNTERS[which]
        slot = counter.slot(self.server.now_ms)
        if (counter, slot) in sender.books:
            sender.exchange([(counter, sender.line(counter, slot, keep_spare=False))])

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
            assert plane.reserve(COUNTERS[0], 1) is None, "served a plane that has not declared"
            assert plane.declare()
            plane.reserve(COUNTERS[0], 30)
            plane.reserve(COUNTERS[1], 30)
        self.server.now_ms += 1_000
        self.snapshot = self.server.snapshot()

    def settle_everything(self) -> None:
        for counter in COUNTERS:
            for plane in self.planes:
                while any(book.held for (each, _), book in plane.books.items() if each == counter):
                    self.overshoot[counter] += plane.settle(counter, 1)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(steps=st.lists(_step, max_size=60))
def test_never_over_the_limit_and_nothing_is_lost(script: ScriptServer, steps: list[tuple[Any, ...]]) -> None:
    world = World(script)
    for step in steps:
        world.step(step)

    world.settle_everything()
    for plane in world.planes:
        plane.exchange([])
    for counter in COUNTERS:
        plane = world.planes[0]
        slot = plane.slots.get(counter, counter.slot(script.now_ms))
        results = plane.exchange([(counter, plane.line(counter, slot))])
        assert results is not None
        expected = sum(
            book.used
            for each in world.planes
            for (c, s), book in each.books.items()
            if c == counter and c.live(s, script.now_ms)
        )
        if counter.live(slot, script.now_ms):
            assert results[0].used == expected, counter
