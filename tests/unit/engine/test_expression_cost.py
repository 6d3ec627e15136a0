"""What an expression may cost is bounded when it is admitted, and so is what it may be given."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tidegate_dataplane.expressions import (
    EvaluationError,
    ExpressionError,
    ValueKind,
    compile_expression,
    compile_value,
)
from tidegate_dataplane.expressions.cost import MAX_DEPTH, MAX_ENTRIES, MAX_TEXT

# Stated in docs/concepts.md. Of processor time, which other processes on the machine disturb little.
RULE_SECONDS = 0.02
MAPPING_SECONDS = 0.25

# As large as values may be: entries that differ only at their end, and one long text.
LIST = [f"{number:052}" for number in range(MAX_ENTRIES)]
TEXT = "ab" * (MAX_TEXT // 2)
CLAIMS: dict[str, Any] = {
    "s": TEXT,
    "g": LIST,
    "h": [*LIST[:-1], "x"],
    "m": dict.fromkeys(LIST, ""),
    "lists": [[""] * 7] * MAX_ENTRIES,
}


def joined(part: str, parts: int, by: str) -> str:
    return by.join([part] * parts)


def in_macro(part: str, parts: int, by: str, after: str = "") -> str:
    return f"token.claims.g.exists(g, {joined(part, parts, by)}{after})"


# Each asks for the most of one sort of work. Those that cost too much are shortened until they are admitted.
RULES: dict[str, Callable[[int], str]] = {
    "comparing": lambda parts: joined("token.claims.s == token.subject", parts, " && "),
    "comparing lists": lambda parts: joined("token.claims.g == token.claims.g", parts, " && "),
    "comparing maps": lambda parts: joined("token.claims.m == token.claims.m", parts, " && "),
    "searching": lambda parts: joined(f"token.claims.s.contains('{'ab' * 40}c')", parts, " || "),
    "in": lambda parts: joined("'x' in token.claims.g", parts, " || "),
    "joining": lambda parts: joined("token.claims.s", parts, " + ") + " == ''",
    "joining lists": lambda parts: joined("token.claims.g", parts, " + ") + " == []",
    "macros": lambda parts: joined("token.claims.g.exists(g, g == '')", parts, " || "),
    "one macro": lambda parts: in_macro("g == 'x'", parts, " || "),
    "joining in a macro": lambda parts: in_macro("token.claims.s", parts, " + ", " == ''"),
    "in in a macro": lambda parts: in_macro("g in token.claims.h", parts, " && "),
    "a macro over lists together": lambda parts: f"({joined('token.claims.g', parts, ' + ')}).all(g, g != '')",
    "comparing lists in a macro": lambda parts: in_macro("token.claims.g == token.claims.h", parts, " || "),
    "patterns": lambda parts: joined("token.claims.s.matches('a+c')", parts, " || "),
    "patterns in a macro": lambda parts: in_macro("g.matches('^a')", parts, " || "),
    "classes": lambda parts: "token.claims.s.matches(r'" + r"\w" * parts + "c')",
    "any sign": lambda parts: f"token.claims.s.matches('{'.' * parts}c')",
    "any sign or none": lambda parts: f"token.claims.s.matches('{'.?' * parts}c')",
    "choices": lambda parts: f"token.claims.s.matches('{'a?' * parts}c')",
    "repeated": lambda parts: f"token.claims.s.matches('(ab|a|b){{1,{parts}}}c')",
    "repeated in repeated": lambda parts: f"token.claims.s.matches('((a|b){{1,{parts}}}a){{1,{parts}}}c')",
    "time zones": lambda parts: joined("now.getHours('Europe/Berlin') == 99", parts, " || "),
    "networks": lambda parts: joined("request.address.inNetwork('10.0.0.0/8')", parts, " || "),
    "numbers": lambda parts: joined("1", parts, " + ") + " == 0",
    "parentheses": lambda parts: "(" * parts + "true" + ")" * parts,
}
VALUES: dict[str, Callable[[int], str]] = {
    "map": lambda parts: f"token.claims.g.map(g, {joined('g', parts, ' + ')})",
    "filter": lambda parts: "token.claims.g.filter(g, " + joined("g != 'x'", parts, " && ") + ")",
    "one after the other": lambda parts: "token.claims.g" + ".filter(g, g != 'x')" * parts,
    "map of lists": lambda parts: "token.claims.lists" + ".map(l, l)" * parts,
    "lists together": lambda parts: f"({joined('token.claims.g', parts, ' + ')}).filter(g, g != 'x')",
}


def largest(written: Callable[[int], str], compiled: Callable[[str], Any]) -> Any:
    """The program with the most parts that is admitted."""
    best = None
    least, most = 1, 400
    while least <= most:
        parts = (least + most) // 2
        try:
            best = compiled(written(parts))
            least = parts + 1
        except ExpressionError:
            most = parts - 1
    assert best is not None, "not even one part is admitted"
    return best


def seconds(evaluate: Callable[[], object]) -> float:
    """Processor time of one evaluation, the least of three: what disturbs it only adds."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        evaluate()
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("work", RULES)
def test_the_worst_admitted_condition_stays_within_its_time(work: str) -> None:
    program = largest(RULES[work], compile_expression)
    given = {"token": {"claims": CLAIMS, "subject": TEXT}, "request": {"address": "192.0.2.1"}, "now": 1_782_907_200.0}
    assert seconds(lambda: program.value(given)) < RULE_SECONDS


@pytest.mark.parametrize("work", VALUES)
def test_the_worst_admitted_mapping_stays_within_its_time(work: str) -> None:
    program = largest(VALUES[work], lambda text: compile_value(text, ValueKind.TEXTS))
    assert seconds(lambda: program.value({"token": {"claims": CLAIMS}})) < MAPPING_SECONDS


@pytest.mark.parametrize(
    "text",
    [
        "request.model.matches('(a{50}){50}')",
        "request.model.matches('\\u0028a\\u007b90}\\u0029{90}')",
        "request.model.matches('(?x)( a{ 90 } ){ 90 }')",
        r"request.model.matches(r'\w{100}')",
        "consumer.roles.exists(r, r.matches('^kc-[a-z]+-(dev|prod)$'))",
        "size(consumer.roles.map(r, r)) == 2",
        "size(consumer.roles.filter(r, r != 'a')) == 2",
        "consumer.roles.exists(r, " + " || ".join(["r == 'a'"] * 100) + ")",
        "[" + "1, " * 500 + "1].all(n, " + " && ".join(["n < 2"] * 30) + ")",
    ],
)
def test_what_may_cost_too_much_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"may cost \d+ units, more than 20000: use fewer macros"):
        compile_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "token.claims.groups.exists(g, g.startsWith('ai-') || g == 'admin')",
        "consumer.roles.exists(r, r.matches('^ai-'))",
        "request.model.matches('^gpt-4o(-mini)?(-2024-[0-9]{2}-[0-9]{2})?$')",
        r"request.headers['x-project'].matches(r'^p-\d+$')",
        r"request.model.matches(r'^[a-z0-9.-]+/(gpt|llama)-.*$') && !request.path.matches(r'\x{100}|[^a-z0-9/_.-]')",
        "token.claims.groups.all(g, g in ['a', 'b', 'c']) && consumer.roles.exists(r, r in token.claims.groups)",
    ],
)
def test_what_policies_need_is_admitted(text: str) -> None:
    assert compile_expression(text).source == text


def nested(depth: int) -> object:
    return "x" if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * (MAX_TEXT + 1), "longer than"),
        (["x"] * (MAX_ENTRIES + 1), "entries are more than"),
        ({str(number): 1 for number in range(MAX_ENTRIES + 1)}, "entries are more than"),
        (["x" * MAX_TEXT] * 4, "characters in all"),
        ({letter * MAX_TEXT: TEXT for letter in "ab"}, "characters in all"),
        (nested(MAX_DEPTH + 2), "deep"),
    ],
)
def test_larger_values_have_no_value_and_leave_no_trace(value: object, said: str) -> None:
    program = compile_expression("type(token.claims.a) == string || token.claims.a == ['b']")
    assert program.evaluate({"token": {"claims": {"a": ["b"]}}})
    for _ in range(2):
        with pytest.raises(EvaluationError, match=said):
            program.evaluate({"token": {"claims": {"a": value}}})
    assert program.evaluate({"token": {"claims": {"a": ["b"], "unread": value}}})
