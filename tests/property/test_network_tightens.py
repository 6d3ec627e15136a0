"""The tightening law for network sections and lists: whatever one adds, it never lets in a call that was refused."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from samples.lists import FEED, LEAKS, addresses, hashes, with_lists
from samples.snapshots import NOON, Entry, attach, backend, call, consumer, key_of, policy, route
from tidegate_dataplane.engine import decide
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ListPart,
    Method,
    Mode,
    NetworkEntry,
    PolicyEntry,
)

NETWORKS = ("10.0.0.0/8", "10.9.0.0/16", "10.9.1.1/32", "2001:db8::/32", "2001:db8:1::/48", "0.0.0.0/0", "::/0")
ADDRESSES = (
    "10.0.0.1",
    "10.9.0.1",
    "10.9.1.1",
    "::ffff:10.9.1.1",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db8:1::1",
    "",
    "x",
)
KEYS = (key_of("team-a/search"), key_of("team-a/other"))


def some(values: tuple[Any, ...], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


sections = st.none() | st.builds(
    NetworkEntry, allow=some(NETWORKS), deny=some(NETWORKS), deny_lists=st.sampled_from(((), (FEED,)))
)
logins = st.none() | st.builds(
    AuthenticationEntry, methods=st.just((Method.API_KEY,)), leaked=st.sampled_from(((), (LEAKS,)))
)
policies = st.lists(
    st.builds(
        lambda name, mode, network, login: policy(f"team-a/{name}", mode=mode, network=network, authentication=login),
        st.sampled_from("abcd"),
        st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW)),
        sections,
        logins,
    ),
    max_size=3,
    unique_by=lambda one: one.source.key,
)
feeds = some(NETWORKS).map(lambda networks: addresses(*networks))
leaks = some(KEYS).map(lambda keys: hashes(*keys))


def runtime(attached: list[PolicyEntry], lists: tuple[ListPart, ...]) -> Runtime:
    login = policy("team-a/login", methods=(Method.API_KEY,))
    names = ("team-a/login", *(one.source.key for one in attached))
    at = route(policies=attach(*names))
    entries: list[Entry] = [login, *attached, consumer(), consumer("team-a/other"), backend(), at]
    return with_lists(entries, lists)


def admitted(at: Runtime) -> set[tuple[str, str]]:
    return {
        (address, key)
        for address in ADDRESSES
        for key in KEYS
        if decide(at, call(address=address, keys=(key,)), NOON).denial is None
    }


@given(policies, policies, feeds, leaks)
def test_one_policy_more_never_lets_anyone_in(
    before: list[PolicyEntry], more: list[PolicyEntry], feed: ListPart, leak: ListPart
) -> None:
    named = {one.source.key for one in before}
    added = [one for one in more if one.source.key not in named]
    assert admitted(runtime([*before, *added], (feed, leak))) <= admitted(runtime(before, (feed, leak)))


@given(policies, some(NETWORKS), some(NETWORKS), some(KEYS), some(KEYS))
def test_one_entry_more_never_lets_anyone_in(
    attached: list[PolicyEntry],
    networks: tuple[str, ...],
    more_networks: tuple[str, ...],
    keys: tuple[str, ...],
    more_keys: tuple[str, ...],
) -> None:
    shorter = runtime(attached, (addresses(*networks), hashes(*keys)))
    longer = runtime(attached, (addresses(*networks, *more_networks), hashes(*keys, *more_keys)))
    assert admitted(longer) <= admitted(shorter) <= admitted(runtime(attached, ()))


@given(policies, feeds, leaks)
def test_shadow_policies_change_nothing(attached: list[PolicyEntry], feed: ListPart, leak: ListPart) -> None:
    enforced = [one for one in attached if one.mode is Mode.ENFORCE]
    assert admitted(runtime(attached, (feed, leak))) == admitted(runtime(enforced, (feed, leak)))
