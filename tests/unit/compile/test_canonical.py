"""Equal entries have equal bytes."""

import msgspec

from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_operator.compile import compile_world
from tidegate_operator.compile.canonical import canonical
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World


def test_a_value_equal_to_its_default_is_the_default() -> None:
    quota = QuotaEntry(
        source=Source(namespace="a", name="q", generation=1, uid="".join(["u"])),
        target_refs=(),
        per=QuotaScope.CONSUMER,
        limits=(
            LimitEntry(
                unit=Unit.TOKENS,
                amount=5,
                window=WindowEntry(calendar=CalendarPeriod.DAY, time_zone="".join(["U", "TC"])),
            ),
        ),
    )
    found = canonical(quota)
    assert found == quota
    assert b"UTC" in msgspec.json.encode(quota)
    assert b"UTC" not in msgspec.json.encode(found)
    assert canonical(found) is found


def test_writing_a_default_out_changes_no_byte() -> None:
    key = ObjectKey(Kind.ROUTE, "a", "r")
    short = {"models": ["m"], "targets": [{"backendRef": {"name": "b"}}]}
    long = {
        "models": ["m"],
        "pathPrefix": "/v1",
        "timeout": "60000ms",
        "streamIdleTimeout": "1m",
        "operations": ["Chat"],
        "hostnames": [],
        "retry": {"attempts": 2, "conditions": ["5xx", "429", "Connect"]},
        "targets": [{"backendRef": {"name": "b", "namespace": "a"}, "weight": 1, "priority": 0}],
    }
    compiled = [compile_world(World({key: Resource(key, spec)}), Facts()) for spec in (short, long)]
    assert compiled[0].shards == compiled[1].shards
