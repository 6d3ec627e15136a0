"""From where callers may come, and which keys and tokens have leaked."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from samples.lists import FEED, LEAKS, addresses, hashes, with_lists
from samples.snapshots import NOON, Entry, allow, attach, backend, call, consumer, key_of, policy, route
from tidegate_dataplane.engine import Decision, decide
from tidegate_dataplane.engine.catalogue import visible_models
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial, Step, Verdict
from tidegate_dataplane.runtime import BuildError, Runtime
from tidegate_dataplane.runtime.objects import NO_TOKEN, Identity
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ListKind,
    ListPart,
    ListRef,
    Method,
    Mode,
    NetworkEntry,
    PolicyEntry,
)

STAGES = ("leakedKeys", "network")
ALLOW = ("10.0.0.0/8", "2001:db8::/32")


def network(key: str = "team-a/edge", *, mode: Mode = Mode.ENFORCE, **fields: Any) -> PolicyEntry:
    return policy(key, mode=mode, network=NetworkEntry(**fields))


def leaked(key: str = "team-a/leaked", *refs: ListRef, **fields: Any) -> PolicyEntry:
    section = AuthenticationEntry(methods=tuple(sorted(Method)), leaked=refs or (LEAKS,))
    return policy(key, authentication=section, **fields)


def runtime(*policies: PolicyEntry, lists: tuple[ListPart, ...] = (), previous: Runtime | None = None) -> Runtime:
    login = policy("team-a/a-login", methods=(Method.API_KEY,))
    keys = [one.source.key for one in policies]
    at = route(policies=attach("team-a/a-login", *keys))
    entries: list[Entry] = [login, *policies, consumer(), backend(), at]
    return with_lists(entries, lists, previous=previous)


def from_(address: str, *policies: PolicyEntry, lists: tuple[ListPart, ...] = ()) -> Decision:
    return decide(runtime(*policies, lists=lists), call(address=address), NOON)


def refusal(decision: Decision) -> tuple[int, str, str]:
    assert decision.denial is not None
    return decision.denial.status, decision.denial.code, str(decision.denial.rule)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", "2001:DB8:0::7", "2001:db8::1%eth0"])
def test_an_allowed_network_lets_in(address: str) -> None:
    assert from_(address, network(allow=ALLOW)).denial is None


@pytest.mark.parametrize(
    "address", ["192.0.2.7", "2001:db9::1", "::ffff:192.0.2.7", "", "unknown", "10.1.2", "10.1.2.03"]
)
def test_what_is_in_no_allowed_network_is_refused(address: str) -> None:
    decision = from_(address, network(allow=ALLOW))
    assert refusal(decision) == (403, "address_not_allowed", "AIPolicy team-a/edge rule network.allow")


def test_the_caller_learns_the_policy_but_neither_networks_nor_lists() -> None:
    feed = addresses("192.0.2.7")
    for policies in ((network(allow=ALLOW),), (network(deny_lists=(FEED,)),), (network(deny=("192.0.2.0/24",)),)):
        denial = from_("192.0.2.7", *policies, lists=(feed,)).denial
        assert denial is not None
        assert denial.message.startswith("AIPolicy team-a/edge does not let in calls from your address: ")
        assert not {"10.0.0.0", "192.0.2", "feed"} & set(denial.message.replace("/", " ").split())


def test_denied_wins_over_allowed() -> None:
    edge = network(allow=("10.0.0.0/8",), deny=("10.9.0.0/16",))
    assert from_("10.8.0.1", edge).denial is None
    assert refusal(from_("10.9.0.1", edge))[2] == "AIPolicy team-a/edge rule network.deny"
    assert from_("", network(deny=("10.9.0.0/16",))).denial is None


def test_every_policy_must_be_satisfied() -> None:
    both = (network("team-a/b", allow=("10.0.0.0/8",)), network("team-a/c", allow=("10.1.0.0/16", "192.0.2.0/24")))
    assert from_("10.1.0.1", *both).denial is None
    assert refusal(from_("10.2.0.1", *both))[2] == "AIPolicy team-a/c rule network.allow"
    assert refusal(from_("192.0.2.1", *both))[2] == "AIPolicy team-a/b rule network.allow"


def test_a_listed_address_is_refused() -> None:
    edge, feed = network(deny_lists=(FEED,)), addresses("192.0.2.0/24", "2001:db8:bad::/48")
    rule = "AIPolicy team-a/edge rule network.denyLists ConfigMap team-a/feed"
    for address in ("192.0.2.7", "2001:db8:bad::1"):
        assert refusal(from_(address, edge, lists=(feed,))) == (403, "address_not_allowed", rule)
    assert from_("198.51.100.1", edge, lists=(feed,)).denial is None


def test_a_list_that_is_not_there_denies_nobody() -> None:
    assert from_("192.0.2.7", network(deny_lists=(FEED,))).denial is None


def test_a_list_of_another_namespace_or_kind_is_another_list() -> None:
    edge = network(deny_lists=(FEED,))
    assert from_("192.0.2.7", edge, lists=(addresses("192.0.2.7", namespace="team-b"),)).denial is None
    secret = msgspec.structs.replace(addresses("192.0.2.7"), secret=True)
    assert from_("192.0.2.7", edge, lists=(secret,)).denial is None


def test_an_edited_list_counts_with_the_next_runtime() -> None:
    edge = network(deny_lists=(FEED,))
    one = runtime(edge, lists=(addresses("192.0.2.7"),))
    assert decide(one, call(address="192.0.2.7"), NOON).denial is not None
    two = runtime(edge, lists=(addresses("192.0.2.8"),), previous=one)
    assert decide(two, call(address="192.0.2.7"), NOON).denial is None
    assert decide(two, call(address="192.0.2.8"), NOON).denial is not None
    # A request keeps the Runtime that it began with.
    assert decide(one, call(address="192.0.2.7"), NOON).denial is not None
    three = runtime(edge, previous=two)
    assert decide(three, call(address="192.0.2.8"), NOON).denial is None
    assert not three.lists


def test_a_list_that_did_not_change_is_not_built_again() -> None:
    edge, feed = network(deny_lists=(FEED,)), addresses("192.0.2.7")
    one = runtime(edge, lists=(feed, hashes("x")))
    two = runtime(edge, lists=(feed, hashes("y")), previous=one)
    same = [key for key in two.lists if two.lists[key] is one.lists[key]]
    assert [key.kind for key in same] == [ListKind.ADDRESSES]


def test_a_leaked_key_is_answered_as_an_unknown_one() -> None:
    stolen = key_of("team-a/search")
    refused = decide(runtime(leaked(), lists=(hashes(stolen),)), call(), NOON)
    unknown = decide(runtime(leaked(), lists=(hashes(stolen),)), call(keys=("sk-never-seen",)), NOON)
    assert refused.denial is not None
    assert unknown.denial is not None
    assert msgspec.structs.replace(refused.denial, rule=None) == unknown.denial
    assert refusal(refused)[2] == "AIPolicy team-a/leaked rule authentication.leakedKeys Secret team-a/leaks"
    assert decide(runtime(leaked(), lists=(hashes("another"),)), call(), NOON).denial is None
    assert decide(runtime(leaked()), call(), NOON).denial is None


def test_a_leaked_token_is_refused_too() -> None:
    at = runtime(leaked(), lists=(hashes("an-opaque-token"),))
    token = sha256(b"an-opaque-token").digest()[:16]
    # Also where it came beside a key that has not leaked.
    for digests in ((token,), (sha256(b"a-good-key").digest()[:16], token)):
        identity = Identity(at.consumers["team-a/search"], frozenset({Method.API_KEY}), digests=digests, token=NO_TOKEN)
        denial = decide_for(at, call(), identity, NOON).denial
        assert denial is not None
        assert (denial.status, denial.code) == (401, "invalid_api_key")
    good = Identity(at.consumers["team-a/search"], frozenset({Method.API_KEY}), token=NO_TOKEN)
    assert decide_for(at, call(), good, NOON).denial is None


def test_a_leaked_key_lists_no_models() -> None:
    found = visible_models(runtime(leaked(), lists=(hashes(key_of("team-a/search")),)), call(), NOON)
    assert isinstance(found, Denial)
    assert (found.status, found.code) == (401, "invalid_api_key")
    assert visible_models(runtime(leaked(), lists=(hashes("another"),)), call(), NOON) == ["gpt-4o"]


@pytest.mark.parametrize("kind", ListKind)
def test_records_of_another_length_are_refused(kind: ListKind) -> None:
    with pytest.raises(BuildError, match="no multiple of"):
        runtime(lists=(ListPart("team-a", "feed", False, kind, "", bytes(33)),))


def test_a_shadow_section_only_reports() -> None:
    feed, stolen = addresses("192.0.2.7"), hashes(key_of("team-a/search"))
    shadows = (network(mode=Mode.SHADOW, deny_lists=(FEED,)), leaked("team-a/leaked", mode=Mode.SHADOW))
    decision = decide(runtime(*shadows, lists=(feed, stolen)), call(address="192.0.2.7"), NOON)
    assert decision.denial is None
    assert [str(ref) for ref in decision.shadow] == [
        "AIPolicy team-a/leaked rule authentication.leakedKeys Secret team-a/leaks",
        "AIPolicy team-a/edge rule network.denyLists ConfigMap team-a/feed",
    ]
    assert decide(runtime(*shadows), call(address="192.0.2.7"), NOON).shadow == ()


def test_the_models_list_follows_the_address() -> None:
    edge = runtime(network(allow=("10.0.0.0/8",)))
    assert visible_models(edge, call(address="10.1.1.1"), NOON) == ["gpt-4o"]
    assert visible_models(edge, call(address="192.0.2.7"), NOON) == []


def test_every_section_leaves_a_step_that_says_what_it_saw() -> None:
    sections = (network("team-a/b", allow=ALLOW, deny=("10.9.0.0/16",)), network("team-a/c", deny_lists=(FEED,)))
    steps: list[Step] = []
    at = runtime(leaked(), *sections, lists=(addresses("10.1.0.0/16"), hashes("other")))
    decide(at, call(address="10.1.2.3"), NOON, steps)
    assert [(step.stage, step.object, step.rule, step.verdict) for step in steps if step.stage in STAGES] == [
        ("leakedKeys", "AIPolicy team-a/leaked", "", Verdict.ACCEPTED),
        ("network", "AIPolicy team-a/b", "", Verdict.ACCEPTED),
        ("network", "AIPolicy team-a/c", "network.denyLists ConfigMap team-a/feed", Verdict.DENIED),
    ]
    assert [step.saw for step in steps if step.stage in STAGES] == [
        "no key or token is on Secret team-a/leaks",
        "'10.1.2.3' is in 10.0.0.0/8 of network.allow",
        "'10.1.2.3' is on the list ConfigMap team-a/feed of network.denyLists",
    ]


def test_more_addresses_than_are_remembered_make_no_difference() -> None:
    at = runtime(network(deny_lists=(FEED,)), lists=(addresses("10.0.128.0/17"),))
    for number in range(33_000):
        address = f"10.0.{number % 256}.{number // 256}"
        assert (decide(at, call(address=address), NOON).denial is not None) == (number % 256 >= 128)
    assert len(at.lists.remembered) <= 32_768


def test_rules_are_asked_after_the_network() -> None:
    ruled = policy("team-a/rules", rules=(allow("staff", roles=("admin",)),))
    assert refusal(from_("192.0.2.7", network(allow=ALLOW), ruled))[1] == "address_not_allowed"
    assert refusal(from_("10.1.1.1", network(allow=ALLOW), ruled))[1] == "permission_denied"
