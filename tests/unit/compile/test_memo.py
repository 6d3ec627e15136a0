"""What a Memo must not remember too long."""

from tidegate_operator.compile import Memo, compile_world
from tidegate_operator.verdicts import Reason
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, SecretKey, World

CONSUMER = ObjectKey(Kind.CONSUMER, "a", "app")
SECRET = SecretKey("a", "keys")
SPEC = {"credentials": {"apiKeys": [{"name": "k", "secretRef": {"name": "keys", "key": "token"}}]}}


def test_why_a_secret_has_no_value_is_told_anew() -> None:
    memo, resources = Memo(), {CONSUMER: Resource(CONSUMER, SPEC)}
    gone = compile_world(World(resources), Facts(), None, memo).verdicts[CONSUMER].unresolved
    bare = compile_world(World(resources, {SECRET: {}}), Facts(), None, memo).verdicts[CONSUMER].unresolved
    held = World(resources, {SECRET: {"token": b"long-enough-to-be-a-key"}})
    assert [finding.reason for finding in (*gone, *bare)] == [Reason.SECRET_NOT_FOUND] * 2
    assert "does not exist" in gone[0].message
    assert "has no key token" in bare[0].message
    assert compile_world(held, Facts(), None, memo).verdicts[CONSUMER].resolved


def test_other_facts_are_judged_anew() -> None:
    policy = ObjectKey(Kind.POLICY, "a", "baseline")
    spec = {"targetRefs": [{"kind": "Gateway"}], "authentication": {"methods": ["APIKey"]}}
    world, memo = World({policy: Resource(policy, spec)}), Memo()
    assert not compile_world(world, Facts(), None, memo).verdicts[policy].accepted
    assert compile_world(world, Facts(platform_namespace="a"), None, memo).verdicts[policy].accepted


def test_answers_for_routes_that_are_gone_do_not_pile_up() -> None:
    memo = Memo()
    for turn in range(12):
        keys = [ObjectKey(Kind.ROUTE, "a", f"r-{turn}-{number}") for number in range(200)]
        spec = {"targets": [{"backendRef": {"name": "mock"}}]}
        world = World({key: Resource(key, {**spec, "models": [key.name]}) for key in keys})
        compile_world(world, Facts(), None, memo)
    assert memo.attachments is not None
    assert memo.attachments.remembered <= 2 * 200 + 1_000
    assert len(memo.judged) == len(memo.routes) == 200
