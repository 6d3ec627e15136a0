"""YAML as kubectl reads it, with positions, and hostile YAML (tests/cluster/test_crds.py asks a real kubectl)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.field_path import field_path, field_text
from tidegate_operator.yaml_documents import MAX_DEPTH, MAX_NODES, Document, YamlProblem, read_documents
from tidegate_operator.yaml_scalars import plain_value


def values(text: str) -> list[Any]:
    """The values of all documents; those that cannot be read as (message, line)."""
    return [
        document.value if isinstance(document, Document) else (document.message, document.position.line)
        for document in read_documents(text)
    ]


def one(text: str) -> Document:
    (document,) = read_documents(text)
    assert isinstance(document, Document), document
    return document


def refusal(text: str) -> YamlProblem:
    (problem,) = read_documents(text)
    assert isinstance(problem, YamlProblem), problem.value
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("y", True),
        ("On", True),
        ("off", False),
        ("n", False),
        ("nO", "nO"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("12", 12),
        ("+12", 12),
        ("-0x1F", -31),
        ("010", 8),
        ("0o10", 8),
        ("08", 8),
        ("0b101", 5),
        ("1_000", 1000),
        ("1.0", 1),
        ("1.5", 1.5),
        ("1e3", 1000),
        (".5", 0.5),
        ("1.", 1),
        (".", "."),
        ("+", "+"),
        ("1:20", "1:20"),
        ("2026-01-31", "2026-01-31"),
        ("1.2.3", "1.2.3"),
        ("0x", "0x"),
        ("١", "١"),
        ("18446744073709551615", 18446744073709551615),
        ("9" * 500, "9" * 500),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    found = plain_value(text)
    assert (found, type(found)) == (value, type(value))


@given(st.text(alphabet="0123456789+-._eExXoObByYnN~", max_size=12))
def test_plain_scalars_never_fail(text: str) -> None:
    assert plain_value(text) is None or isinstance(plain_value(text), str | int | float)


def test_quoted_and_tagged_text_stays_text() -> None:
    assert values("{a: '12', b: \"on\", c: !!str 12, d: ! on}") == [{"a": "12", "b": "on", "c": "12", "d": "on"}]


def test_every_field_knows_its_line_and_column() -> None:
    document = one("# head\na:\n- b: 1\n  c:\n    d: [x, y]\n")
    assert document.positions[("a",)] == (2, 1)
    assert document.positions[("a", 0)] == (3, 3)
    assert document.positions[("a", 0, "c", "d")] == (5, 5)
    assert document.positions[("a", 0, "c", "d", 1)] == (5, 12)


def test_documents_are_counted_through_the_file() -> None:
    text = "a: 1\n---\n# only a comment\n---\nb: 2\n...\n---\n|\n  text\n  --- no mark\n---\nc: 3"
    assert values(text) == [{"a": 1}, {"b": 2}, "text\n--- no mark\n", {"c": 3}]
    *_, last = read_documents(text)
    assert isinstance(last, Document)
    assert last.positions[("c",)].line == 12


def test_a_broken_document_does_not_hold_back_the_next() -> None:
    first, second, third = values("a: [\n---\nb: 2\n---\nc: }\n")
    assert first[0].startswith("not valid YAML")
    assert second == {"b": 2}
    assert third[1] == 5


def test_directives_and_windows_line_ends() -> None:
    assert values("%YAML 1.1\n---\na: 1\r\n---\r\nb: 2\r\n") == [{"a": 1}, {"b": 2}]


def test_keys_become_text_as_in_kubectl() -> None:
    assert values("{on: 1, 8: 2, 1.5: 3, text: 4}") == [{"true": 1, "8": 2, "1.5": 3, "text": 4}]
    assert one("{a: {on: [x]}}").spellings[("a", "true", "")] == "on"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: duplicate key, first given in line 1", 3),
        ("on: 1\nyes: 2\n", "true: duplicate key", 2),
        ("a: !custom 1", "the tag !custom has no meaning here", 1),
        ("a: !!binary aGk=", "the tag !!binary has no meaning here", 1),
        ("a: !!int text", "does not fit its tag !!int", 1),
        ("a: !!set {x}", "the tag !!set has no meaning here", 1),
        ("? [a]\n: b", "a key must be text", 1),
        ("? {a: b}\n: c", "a key must be text", 1),
        ("~: b", "a key must not be empty", 1),
        ("a: .inf", "no number that is not finite", 1),
        ("a:\n\tb: 1", "a tab indents this line", 2),
        ("a: *nowhere", "refers to no anchor", 1),
        ("a: &a [*a]", "refers to no anchor", 1),
        ("a: 1\nb: \x07", "a control character", 2),
        ("a: 'open", "not valid YAML", 1),
        ("<<: 3", "<< merges a map", 1),
    ],
)
def test_what_is_refused_says_what_and_where(text: str, message: str, line: int) -> None:
    problem = refusal(text)
    assert message in problem.message
    assert problem.position.line == line


def test_aliases_and_merges() -> None:
    text = "base: &b {x: 1, w: 2}\ncopy: *b\nover: {<<: *b, w: 3}\nlist: {<<: [*b, {z: 4}], x: 0}\n"
    base = {"x": 1, "w": 2}
    assert values(text) == [
        {"base": base, "copy": base, "over": {"x": 1, "w": 3}, "list": {"x": 0, "w": 2, "z": 4}},
    ]


def test_an_anchor_ends_with_its_document() -> None:
    assert "refers to no anchor" in values("a: &a 1\n---\nb: *a\n")[1][0]


def test_a_billion_laughs_is_refused_at_once() -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "aliases expand to more" in refusal(f"l0: &l0 [x, x, x]\n{layers}").message


def test_depth_is_bounded_through_aliases_too() -> None:
    assert "nested deeper" in refusal("[" * 100_000).message
    half = MAX_DEPTH // 2 + 2
    assert "nested deeper" in refusal(f"a: &a {'[' * half}{']' * half}\nb: {'[' * half}*a{']' * half}\n").message
    assert values(f"{'[' * MAX_DEPTH}{']' * MAX_DEPTH}")


def test_the_number_of_values_is_bounded() -> None:
    assert "more than" in refusal("[" + "0," * (MAX_NODES + 1) + "]").message


def test_json_is_yaml() -> None:
    assert values('{"a": [1, true, null, "\\u00e9"],\n\t"b": "x\\/y"}') == [{"a": [1, True, None, "é"], "b": "x/y"}]


@given(st.text(max_size=60))
def test_any_text_gives_documents_or_problems(text: str) -> None:
    for found in read_documents(text):
        assert isinstance(found, Document | YamlProblem)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "targets", 0, "backendRef", "name"), "spec.targets[0].backendRef.name"),
        (("metadata", "labels", "app.kubernetes.io/name"), "metadata.labels[app.kubernetes.io/name]"),
        (("spec", "attributes", "8"), "spec.attributes[8]"),
        ((), ""),
    ],
)
def test_field_paths(path: tuple[str | int, ...], text: str) -> None:
    assert field_text(path) == text
    if path[-1:] != ("8",):
        assert field_path(text) == path
