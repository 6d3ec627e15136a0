"""Building a Runtime: what is kept, what is seen anew, and what is refused."""

import pytest

from samples.snapshots import (
    NOON,
    Entry,
    allow,
    attach,
    backend,
    call,
    consumer,
    deny,
    keys_only,
    limit,
    policy,
    quota,
    route,
    snapshot,
)
from tidegate_dataplane.engine import attempts, decide
from tidegate_dataplane.runtime import BuildError, Runtime, build
from tidegate_dataplane.snapshot.entries import CalendarPeriod, Method, WindowEntry

BASE: tuple[Entry, ...] = (
    backend(),
    backend("team-a/spare"),
    keys_only(),
    quota(),
    consumer(),
    route(policies=attach("team-a/login"), quotas=("team-a/quota",)),
    route("team-a/other", models=("other",), policies=attach("team-a/login")),
)


def rebuilt(*changed: Entry, gone: str = "") -> tuple[Runtime, Runtime]:
    """The Runtime of BASE, and the one after these entries took the place of those with their kinds and keys."""
    before = build(*snapshot(BASE))
    replaced = {(type(entry), entry.source.key): entry for entry in (*BASE, *changed) if entry.source.key != gone}
    return before, build(*snapshot(replaced.values(), revision=2), previous=before)


def test_facts_of_the_index() -> None:
    runtime = build(*snapshot(BASE, revision=42))
    assert (runtime.revision, runtime.gateway) == (42, "default")


def test_what_did_not_change_is_kept() -> None:
    before, after = rebuilt(route("team-a/other", models=("other", "more"), policies=attach("team-a/login")))
    assert after.routes["team-a/chat"] is before.routes["team-a/chat"]
    assert after.routes["team-a/other"] is not before.routes["team-a/other"]
    assert after.policies is before.policies
    assert after.credentials is before.credentials


def test_the_same_shards_compile_nothing() -> None:
    index, shards = snapshot(BASE)
    before = build(index, shards)
    after = build(index, {}, previous=before)
    assert after.routes is before.routes
    assert after.table is before.table


def test_an_edit_that_claims_the_same_keeps_the_table() -> None:
    before, after = rebuilt(route("team-a/other", models=("other",), timeout_ms=5, policies=attach("team-a/login")))
    assert after.table is before.table
    assert after.routes["team-a/other"].timeout == 0.005


def test_a_route_sees_its_changed_policy_quota_and_backend() -> None:
    closed = policy("team-a/login", methods=(Method.API_KEY,), rules=(deny("all"),))
    moved = backend(endpoint="https://moved.example.com")
    before, after = rebuilt(closed, quota("team-a/quota", limit(amount=5)), moved)
    assert decide(before, call(), NOON).denial is None
    denial = decide(after, call(), NOON).denial
    assert denial is not None
    assert denial.status == 403
    assert [one.limits[0].amount for one in after.routes["team-a/chat"].quotas] == [5]
    assert attempts(after.routes["team-a/chat"], 0.0)[0].backend.entry.endpoint == "https://moved.example.com"
    assert decide(before, call(), NOON).denial is None, "a call keeps the Runtime it began with"


@pytest.mark.parametrize(
    ("gone", "status"),
    [
        ("team-a/chat", 404),
        ("team-a/search", 401),
        ("team-a/login", 503),
        ("team-a/quota", 503),
        ("team-a/mock", 503),
        ("team-a/spare", None),
    ],
)
def test_what_is_deleted_is_gone_at_once(gone: str, status: int | None) -> None:
    _, after = rebuilt(gone=gone)
    denial = decide(after, call(), NOON).denial
    assert (denial.status if denial else None) == status


def test_a_missing_shard_is_refused() -> None:
    index, shards = snapshot(BASE)
    with pytest.raises(BuildError, match="shard 00 of revision 1 is missing"):
        build(index, {name: shard for name, shard in shards.items() if name != "00"})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            policy("team-a/p", rules=(allow("r", when="request.modle == 'x'"),)),
            "AIPolicy team-a/p rule r: .*did you mean",
        ),
        (
            quota("team-a/q", limit(window=WindowEntry(calendar=CalendarPeriod.DAY, time_zone="Nowhere"))),
            "Quota team-a/q: there is no time zone 'Nowhere'",
        ),
        (quota("team-a/q", limit(window=WindowEntry())), "Quota team-a/q: a window is neither"),
    ],
)
def test_an_error_names_the_object_and_leaves_the_runtime_before(entry: Entry, said: str) -> None:
    before = build(*snapshot(BASE))
    with pytest.raises(BuildError, match=said):
        build(*snapshot((*BASE, entry), revision=2), previous=before)
    assert decide(before, call(), NOON).denial is None
