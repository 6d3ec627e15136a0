"""The fast reader reads nothing otherwise than the exact one: what it does not know for certain, it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.plain_yaml import PlainReader
from tidegate_operator.yaml_documents import Document, read_documents

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("examples", "tests/golden", "tests/samples") for path in (ROOT / folder).rglob("*.yaml")
)
SIGNS = "ab1-: #'\"[]{},&*!|>%@`?\\\t~.0xny_/=\n"

WORDS = (
    "a on no 8 0x1f 1e3 - -- --- null ~ 12:30 a:b a,b 1.5 .inf 5m gpt-* << ... 08 0o7 +1 1_000 y | > &a *a !!str",
    "https://x/y 'x' [a,b] {a:b} [ {a} [a,] xä 2026-07-01T00:00:00Z",
    '"y" "a\\n" {"a":1}',
)
words = st.sampled_from(
    [
        *WORDS,
        *(
            "- ",
            "a b",
            "a: b",
            "a #b",
            "'it''s'",
            "[a, b]",
            "{a: b}",
            "{a: [b, {c: d}]}",
            "{'a': 1}",
            "{a: }",
            "",
            "? a",
        ),
        *("a\tb", "a  b", " a", "a "),
    ]
)
keys = st.sampled_from(["a", "b", "name", "on", "8", "a.b", "a/b", "'q'", "x-y", "<<", "null", "true", "a b", "A"])
lines = st.one_of(
    st.builds(
        lambda indent, dash, key, gap, word, end: f"{' ' * indent}{dash}{key}:{gap}{word}{end}",
        st.integers(0, 6),
        st.sampled_from(["", "", "", "- ", "-  ", "- - "]),
        keys,
        st.sampled_from([" ", " ", " ", "", "  "]),
        words,
        st.sampled_from(["", "", "", " ", " # c", "#c"]),
    ),
    st.builds(lambda indent, word: f"{' ' * indent}- {word}", st.integers(0, 6), words),
    st.sampled_from(["", "# c", "  # c", "---", "...", "\t", "  ", "%YAML 1.1"]),
    st.text(SIGNS, max_size=12),
)


def exact(text: str) -> list[Any]:
    """Every value that the exact reader finds; a problem is one too."""
    return [one.value if isinstance(one, Document) else one for one in read_documents(text)]


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: True is not 1."""
    return repr(one) == repr(other)


def agree(text: str) -> bool:
    """Whether the fast reader knew; asserts that it read the same."""
    value = PlainReader().read(text)
    if value is None:
        return False
    found = exact(text)
    assert len(found) == 1, text
    assert same(value, found[0]), text
    return True


@given(st.lists(lines, min_size=1, max_size=8).map("\n".join))
def test_any_lines(text: str) -> None:
    agree(text)


@given(st.text(SIGNS, max_size=60))
def test_any_text(text: str) -> None:
    agree(text)


def test_the_manifests_of_this_repository() -> None:
    parts = [part for path in FILES for part in path.read_text().split("\n---\n")]
    known = sum(agree(part) for part in parts)
    assert known > len(parts) * 0.5, "most of them are plain"


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1",
        "a: |\n  b",
        "a: b\n  c",
        "a: 1\na: 2",
        "a:\n - b\n   c",
        "a: 'x\n  y'",
        "- a",
        "a",
        "",
        "a: {b: c\n  }",
        "? a\n: b",
    ],
)
def test_leaves_alone_what_is_not_plain(text: str) -> None:
    assert PlainReader().read(text) is None


def test_reads_what_people_write() -> None:
    text = """\
# a consumer
apiVersion: tidegate.dev/v1alpha1
kind: AIConsumer
metadata: {name: search, namespace: team-a}
spec:
  roles:
  - inference
  attributes:
    clearance: "2"  # text
  suspended: no
  credentials:
    apiKeys:
      - name: current
        sha256: dd654e4c
      - {name: ci, revoked: true}
"""
    assert PlainReader().read(text) == {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIConsumer",
        "metadata": {"name": "search", "namespace": "team-a"},
        "spec": {
            "roles": ["inference"],
            "attributes": {"clearance": "2"},
            "suspended": False,
            "credentials": {"apiKeys": [{"name": "current", "sha256": "dd654e4c"}, {"name": "ci", "revoked": True}]},
        },
    }
