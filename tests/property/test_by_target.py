"""Laws of rules that look at the backend, on random routes, rules and backends."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from samples.snapshots import NOON, allow, attach, backend, call, consumer, deny, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import Call, Decision, attempts, decide, explain
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    Effect,
    Location,
    Mode,
    Operation,
    PolicyEntry,
    RouteEntry,
    RuleEntry,
    TargetEntry,
)

NAMES = ("a", "b", "c")
VERSIONS = ("", "2024-07-18", "2024-08-06")
PICKS = (0.0, 0.3, 0.6, 0.999)
WHENS = (
    "",
    "backend.name == 'a'",
    "backend.jurisdiction == 'EU'",
    "backend.version.startsWith('2024-0')",
    "backend.cloud == request.headers['x-cloud']",
    "request.headers['x-cloud'] == 'aws'",
    "request.operation == 'Chat'",
)
thorough = settings(max_examples=300)

rules = st.builds(
    RuleEntry,
    name=st.just("r"),
    effect=st.sampled_from(Effect),
    roles=st.sampled_from(((), ("r",), ("none",))),
    operations=st.sampled_from(((), (), (Operation.CHAT,), (Operation.EMBEDDINGS,))),
    versions=st.sampled_from(((), (), ("2024-07*",), ("*",), VERSIONS[1:])),
    when=st.sampled_from(WHENS),
)
groups = st.lists(st.lists(rules, min_size=1, max_size=3), max_size=3)
backends = st.tuples(
    *(
        st.builds(
            backend,
            st.just(f"team-a/{name}"),
            versions=st.sampled_from(VERSIONS).map(lambda version: {"gpt-4o": version} if version else {}),
            location=st.none()
            | st.builds(Location, st.sampled_from(("aws", "azure")), st.just("r"), st.sampled_from(("EU", "US"))),
        )
        for name in NAMES
    )
)
targets = st.lists(
    st.builds(
        TargetEntry,
        backend=st.sampled_from(NAMES).map("team-a/{}".format),
        weight=st.integers(0, 3),
        priority=st.integers(0, 1),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
calls = st.builds(
    call, headers=st.sampled_from(({}, {"x-cloud": "aws"}, {"x-cloud": "azure"})), operation=st.just(Operation.CHAT)
)


def decided(
    found: Sequence[BackendEntry],
    aims: tuple[TargetEntry, ...],
    policies: Sequence[PolicyEntry],
    asked: Call,
) -> Decision:
    return decide(runtime_of(*entries(found, aims, policies)), asked, NOON)


def entries(found: Sequence[BackendEntry], aims: tuple[TargetEntry, ...], policies: Sequence[PolicyEntry]) -> list[Any]:
    attached = attach("team-a/login", *(one.source.key for one in policies))
    aimed: RouteEntry = route(targets=aims, policies=attached)
    return [keys_only(), *policies, *found, consumer(roles=("r",)), aimed]


def policies_of(drawn: list[list[RuleEntry]], **fields: Any) -> list[PolicyEntry]:
    return [policy(f"team-a/p{number}", rules=tuple(some), **fields) for number, some in enumerate(drawn)]


def orders(decision: Decision) -> list[list[tuple[str, int, int]]]:
    """Who is tried, in which order, for several picks; nobody when the call is refused."""
    if decision.denial is not None or decision.route is None:
        return [[] for _ in PICKS]
    return [
        [
            (target.backend.key, target.weight, target.priority)
            for target in attempts(decision.route, pick, decision.tiers)
        ]
        for pick in PICKS
    ]


def usable(decision: Decision) -> set[tuple[str, int, int]]:
    return {target for order in orders(decision) for target in order}


@thorough
@given(backends, targets, groups, calls, st.sampled_from(NAMES))
def test_denying_a_backend_is_the_same_as_taking_its_targets_away(
    found: tuple[BackendEntry, ...],
    aims: tuple[TargetEntry, ...],
    drawn: list[list[RuleEntry]],
    asked: Call,
    gone: str,
) -> None:
    present = policies_of(drawn)
    forbids = policy("team-a/forbids", rules=(deny("gone", when=f"backend.name == '{gone}'"),))
    fewer = tuple(target for target in aims if target.backend != f"team-a/{gone}")
    assert orders(decided(found, aims, [*present, forbids], asked)) == orders(decided(found, fewer, present, asked))


@thorough
@given(backends, targets, groups, calls)
def test_a_target_is_used_exactly_when_the_rules_let_it_alone_be_used(
    found: tuple[BackendEntry, ...], aims: tuple[TargetEntry, ...], drawn: list[list[RuleEntry]], asked: Call
) -> None:
    present = policies_of(drawn)
    alone = set().union(*(usable(decided(found, (target,), present, asked)) for target in aims))
    assert usable(decided(found, aims, present, asked)) == alone


@thorough
@given(backends, targets, groups, st.lists(rules, min_size=1, max_size=3), calls)
def test_one_more_policy_never_adds_a_target(
    found: tuple[BackendEntry, ...],
    aims: tuple[TargetEntry, ...],
    drawn: list[list[RuleEntry]],
    more: list[RuleEntry],
    asked: Call,
) -> None:
    present = policies_of(drawn)
    tighter = [*present, policy("team-a/more", rules=tuple(more))]
    assert usable(decided(found, aims, tighter, asked)) <= usable(decided(found, aims, present, asked))


@thorough
@given(backends, targets, groups, calls)
def test_an_allow_rule_that_holds_for_every_backend_changes_nothing(
    found: tuple[BackendEntry, ...], aims: tuple[TargetEntry, ...], drawn: list[list[RuleEntry]], asked: Call
) -> None:
    present = policies_of(drawn)
    all_of_them = policy("team-a/all", rules=(allow("all", when="backend.name != ''"),))
    assert orders(decided(found, aims, [*present, all_of_them], asked)) == orders(decided(found, aims, present, asked))


@thorough
@given(backends, targets, groups, calls)
def test_shadow_rules_change_nothing_and_tell_exactly_what_enforcing_them_would_refuse(
    found: tuple[BackendEntry, ...], aims: tuple[TargetEntry, ...], drawn: list[list[RuleEntry]], asked: Call
) -> None:
    shadowed = decided(found, aims, policies_of(drawn, mode=Mode.SHADOW), asked)
    assert orders(shadowed) == orders(decided(found, aims, [], asked))
    if shadowed.denial is None:
        assert bool(shadowed.shadow) is (decided(found, aims, policies_of(drawn), asked).denial is not None)


@thorough
@given(backends, targets, groups, calls)
def test_explaining_does_not_change_what_is_left(
    found: tuple[BackendEntry, ...], aims: tuple[TargetEntry, ...], drawn: list[list[RuleEntry]], asked: Call
) -> None:
    runtime = runtime_of(*entries(found, aims, policies_of(drawn)))
    plain, explained = decide(runtime, asked, NOON), explain(runtime, asked, NOON)
    assert explained.admitted is (plain.denial is None)
    if explained.admitted:
        assert {text.split()[1] for text in explained.targets} == {key for key, _, _ in usable(plain)}
    refusing = [step for step in explained.steps if step.verdict == "Denied" and not step.shadow]
    assert bool(refusing) is (plain.denial is not None)
