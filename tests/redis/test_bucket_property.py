"""No stretch of time ever holds more than burst + rate * its length, whatever is taken, leased and given back."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store_parts.model import Plane
from store_parts.script import ScriptServer
from tidegate_dataplane.store.encoding import OK
from tidegate_dataplane.store.protocol import Kind, Line, Status

BURST = 20
_step = st.tuples(
    st.sampled_from([0, 0, 0, 100, 1_000, 2_000]),  # ms to wait before
    st.sampled_from([1, 5, 12]),  # tokens needed
    st.sampled_from([0, 10, 40]),  # wanted beyond
    st.sampled_from([0.0, 1.0]),  # when, within its life, what was leased is spent
    st.sampled_from([None, None, 0, 1, 2]),  # after how many steps all of it is given back, instead of spent
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rate_ns=st.sampled_from([100_000_000, 33_333_334, 7_000_001]),
    tau_ms=st.sampled_from([0, 50, 100]),
    steps=st.lists(_step, min_size=8, max_size=40),
)
def test_every_stretch_holds_no_more_than_burst_and_what_flows_back(
    script: ScriptServer, rate_ns: int, tau_ms: int, steps: list[tuple[int, int, int, float, int | None]]
) -> None:
    script.redis.flushdb()
    plane = Plane(script, "a")
    assert plane.declare()
    script.now_ms += 3_000

    def ask(*, need: int = 0, want: int = 0, taken_at: int = 0, back: int = 0) -> tuple[int, int, int]:
        line = Line(b"b" * 16, Kind.BUCKET, rate_ns, BURST, tau_ms * 1_000, taken_at, 0, 0, 0, back, need, want)
        reply = script.exchange(plane.header(), [[line]])
        assert reply.code == OK
        plane.learn(reply.epoch, reply.version, reply.members)
        result = reply.results[0][0]
        return result.status, result.granted, result.slot

    spent: list[tuple[float, int]] = []
    backs: list[tuple[int, int, int]] = []
    for step, (wait, need, beyond, when, unused) in enumerate(steps):
        script.now_ms += wait
        for _, taken_at, tokens in [each for each in backs if each[0] == step]:
            ask(taken_at=taken_at, back=tokens)
        status, granted, taken_at = ask(need=need, want=need + beyond)
        if status == Status.OK and unused is None:
            spent.append((script.now_ms + when * tau_ms, granted))
        elif status == Status.OK and unused is not None:
            backs.append((step + 1 + unused, taken_at, granted))
    spent.sort()
    for first in range(len(spent)):
        total = 0
        for at, tokens in spent[first:]:
            total += tokens
            # Half a token for microseconds that were rounded.
            assert total <= BURST + (at - spent[first][0]) * 1e6 / rate_ns + 0.5
