"""A policy whose expressions cost too much together is refused when it is applied, not when a call comes."""

import pytest

from tidegate_dataplane.expressions.cost import ROUTE_LIMIT
from tidegate_operator.compile import compile_world
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

COSTLY = r"request.headers['x'].matches(r'\w\w\w\wc')"


def verdict(rules: int, signals: int) -> Verdict:
    key = ObjectKey(Kind.POLICY, "team-a", "p")
    spec: dict[str, object] = {
        "targetRefs": [{"kind": "Namespace"}],
        "authorization": {
            "rules": [{"name": f"r{number}", "effect": "Deny", "when": COSTLY} for number in range(rules)]
        },
    }
    if signals:
        found = [{"name": f"s{number}", "type": "Expression", "weight": 1, "when": COSTLY} for number in range(signals)]
        spec["risk"] = {"signals": found, "thresholds": {"deny": 5}}
    return compile_world(World({key: Resource(key, spec)}), Facts()).verdicts[key]


@pytest.mark.parametrize(("rules", "signals"), [(9, 0), (1, 8)])
def test_what_is_too_much_together_is_told(rules: int, signals: int) -> None:
    found = verdict(rules, signals)
    assert not found.accepted
    assert [(one.field, str(ROUTE_LIMIT) in one.message) for one in found.errors] == [("spec", True)]


@pytest.mark.parametrize(("rules", "signals"), [(3, 0), (1, 2)])
def test_a_few_are_accepted(rules: int, signals: int) -> None:
    assert verdict(rules, signals).accepted


@pytest.mark.parametrize(("attributes", "accepted"), [(2, True), (8, False)])
def test_a_mapping_costs_no_more_in_all_than_one_expression_may(attributes: int, accepted: bool) -> None:
    key = ObjectKey(Kind.POLICY, "team-a", "p")
    claims = {f"a{number}": f"token.claims.g.filter(g, g != '{number}')[0]" for number in range(attributes)}
    provider = {"name": "idp", "issuer": "https://idp.example.com", "audiences": ["a"]}
    spec = {
        "targetRefs": [{"kind": "Namespace"}],
        "authentication": {"methods": ["JWT"], "jwt": [{**provider, "claims": {"attributes": claims}}]},
    }
    found = compile_world(World({key: Resource(key, spec)}), Facts()).verdicts[key]
    assert found.accepted is accepted
    assert [one.field for one in found.errors] == ([] if accepted else ["spec.authentication.jwt[0].claims"])
