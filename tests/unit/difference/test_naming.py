"""Many consumers in few words, which say neither more nor less than who is concerned."""

from __future__ import annotations

import pytest

from tidegate_operator.difference.naming import Naming, few

TEAM_A = [f"team-a/search-{number}" for number in range(8)] + ["team-a/other"]
TEAM_B = ["team-b/one", "team-b/two"]
NAMING = Naming([*TEAM_A, *TEAM_B])


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["team-b/one"], "team-b/one"),
        ([""], "callers without a credential"),
        (TEAM_A[:8], "team-a/search-* (8 consumers)"),
        (TEAM_A[:5], "team-a/search-* (5 of 8 consumers)"),
        (TEAM_A, "every consumer of team-a (9)"),
        ([*TEAM_A, *TEAM_B], "every consumer (11)"),
        (["", *TEAM_A, *TEAM_B], "every consumer (11) and callers without a credential"),
        ([*TEAM_A[5:], "team-b/one"], "4 of 9 consumers of team-a (team-a/other and others), team-b/one"),
    ],
)
def test_labels(names: list[str], label: str) -> None:
    found = NAMING.consumers(names)
    assert (found.label, found.count, set(found.names)) == (label, len(names), set(names))


def test_few() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few(["ns/a", "ns/b", "ns/c", "ns/d"]) == "ns/a, ns/b, ns/c and 1 more"
    assert few([f"ns/route-{number}" for number in range(5)]) == "ns/route-* (5)"
