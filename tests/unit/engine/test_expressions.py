"""Expressions: what compiles, what is refused and how that is said, and what they evaluate to."""

import math
from typing import Any

import pytest

from tidegate_dataplane.expressions import EvaluationError, ExpressionError, compile_expression

SUMMER_NOON = 1_782_907_200.0  # 2026-07-01T12:00:00Z, a Wednesday; 14:00 in Berlin
WINTER_NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z; 13:00 in Berlin


def variables(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "request": {
            "model": "gpt-4o",
            "operation": "Chat",
            "path": "/v1/chat/completions",
            "host": "ai.example.com",
            "headers": {"x-team": "search", "accept": "*/*"},
            "address": "192.0.2.7",
            "bodyBytes": 600,
        },
        "consumer": {
            "name": "search",
            "namespace": "team-a",
            "type": "Application",
            "team": "search",
            "tier": "premium",
            "roles": ("inference", "batch"),
            "attributes": {"clearance": "2"},
        },
        "route": {"name": "chat", "namespace": "team-a"},
        "now": SUMMER_NOON,
    }
    return values | changes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("request.model == 'gpt-4o'", True),
        ("request['model'] == 'gpt-4o'", True),
        ("request . model == 'gpt-4o'", True),
        ("request.model.startsWith('claude')", False),
        ("request.bodyBytes < 1000", True),
        ("request.headers['x-team'] == consumer.team", True),
        ("'x-debug' in request.headers", False),
        ("has(request.headers.accept)", True),
        ("has(request.headers.cookie) && request.headers.cookie == 'a'", False),
        ("has(request.model)", True),
        ("request.headers.exists(name, name.startsWith('x-'))", True),
        ("request.headers[consumer.team == 'search' ? 'x-team' : 'y'] == 'search'", True),
        ("'batch' in consumer.roles", True),
        ("consumer.roles.exists(role, role == 'admin')", False),
        ("int(consumer.attributes.clearance) >= 2", True),
        ("consumer.namespace == route.namespace", True),
        ("now > timestamp('2026-01-01T00:00:00Z')", True),
        ("now.getHours() == 12", True),
        ("now.getHours('UTC') == 12", True),
        ("now.getHours('Europe/Berlin') == 14", True),
        ("now.getHours('+05:30') == 17 && now.getMinutes('+05:30') == 30", True),
        ("now.getHours('-03:00') == 9", True),
        ("now.getDayOfWeek('Europe/Berlin') == 3", True),
        ("now.getDayOfWeek('Europe/Berlin') in [0, 6]", False),
        ("now.getMonth('UTC') == 6 && now.getDate('UTC') == 1 && now.getDayOfMonth('UTC') == 0", True),
        ("now.getFullYear('Pacific/Auckland') == 2026 && now.getDayOfYear('UTC') == 181", True),
        ("(now + duration('12h')).getDate('Europe/Berlin') == 2", True),
        ("'request.nothing' == request.model // request.nothing", False),
        ("{'a': request.model}.a == 'gpt-4o'", True),
        ("type(request.model) == string", True),
        ("r'\\d' == request.model", False),
        ("request.model == \"gpt-4o\" && request.path != '''a'b'''", True),
    ],
)
def test_evaluates(text: str, value: bool) -> None:
    assert compile_expression(text).evaluate(variables()) is value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a CEL expression"),
        ("request.model ==", "not a CEL expression"),
        ("request.modle == 'x'", "did you mean 'request.model'?"),
        ("request.body_bytes > 1", "did you mean 'request.bodyBytes'?"),
        ("request['modle'] == 'x'", "did you mean 'request.model'?"),
        ("false && request.modle == 'x'", "did you mean 'request.model'?"),
        ("has(request.modle)", "did you mean 'request.model'?"),
        ("route.tier == 'x'", "there are route.name, route.namespace"),
        ("conusmer.name == 'x'", "did you mean 'consumer'?"),
        ("user == 'x'", "there is no variable 'user'"),
        ("request == consumer", "write which member of 'request'"),
        ("size(request) > 1", "write which member of 'request'"),
        ("request.size() > 1", "write which member of 'request'"),
        ("(request).model == 'x'", "write which member of 'request'"),
        ("now.getHour() < 7", "did you mean 'getHours'?"),
        ("lookup(request.model)", "there is no function 'lookup'"),
        ("now.getHours('Europe/Berln') < 7", "no time zone 'Europe/Berln'"),
        ("now.getHours(consumer.team) < 7", "a time zone in quotes"),
        ("now > timestamp('yesterday')", "timestamp"),
        ("now - duration('long') > now", "duration"),
        ("request.model.matches('(')", "not a valid regex"),
        ("false && request.model.matches('[')", "not a valid regex"),
        ("request.model", "a string, not a bool"),
        ("1", "an int, not a bool"),
        ("request.model < 1", "unlike types"),
        ("request.bodyBytes.startsWith('x')", "cannot be applied"),
        ("request.headers['X-Team'] == 'a'", "write 'x-team', not 'X-Team'"),
        ("consumer.roles.exists(now, now == 'x')", "choose another"),
        ("consumer.roles.all(a, consumer.roles.all(b, a == b))", "inside another macro"),
        ("request.model == '" + "x" * 3000 + "'", "more than 2048"),
        ("(" * 600 + "true" + ")" * 600, "not a CEL expression"),
    ],
)
def test_refuses_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "request.headers['x-unknown'] == 'a'",
        "consumer.attributes.unknown == 'a'",
        "consumer.attributes[request.model] == 'a'",
        "int(request.model) > 1",
        "consumer.roles[7] == 'a'",
        "10 / (request.bodyBytes - 600) > 1",
    ],
)
def test_has_no_value_for_this_call(text: str) -> None:
    program = compile_expression(text)
    with pytest.raises(EvaluationError):
        program.evaluate(variables())


def test_a_missing_key_is_named_with_the_way_out() -> None:
    with pytest.raises(EvaluationError, match="there is no key 'x-unknown'; ask with has"):
        compile_expression("request.headers['x-unknown'] == 'a'").evaluate(variables())


def test_a_conditional_result_that_is_no_bool_is_an_error_when_it_happens() -> None:
    program = compile_expression("request.bodyBytes > 10000 ? 'yes' == request.model : true || request.model == 'a'")
    assert program.evaluate(variables()) is True
    mixed = compile_expression("request.bodyBytes > 500 ? true : request.model")
    small = variables()["request"] | {"bodyBytes": 1}
    with pytest.raises(EvaluationError, match="not a bool"):
        mixed.evaluate(variables(request=small))


def test_names_the_variables_that_it_needs() -> None:
    assert compile_expression("true").variables == frozenset()
    assert compile_expression("now.getHours() < 7 && request.model == 'a'").variables == {"now", "request"}
    assert compile_expression("consumer.team == route.name").variables == {"consumer", "route"}


def test_only_needed_variables_must_be_given() -> None:
    assert compile_expression("request.model == 'a'").evaluate({"request": {"model": "a"}})


def test_nothing_stays_from_the_call_before() -> None:
    program = compile_expression("request.headers['x-team'] == 'search' && now.getHours('Europe/Berlin') == 14")
    assert program.evaluate(variables())
    assert not program.evaluate(variables(now=WINTER_NOON))
    without = variables()["request"] | {"headers": {}}
    with pytest.raises(EvaluationError):
        program.evaluate(variables(request=without))
    assert program.evaluate(variables())


def test_time_zones_follow_summer_time() -> None:
    program = compile_expression("now.getHours('Europe/Berlin') == 13")
    assert program.evaluate({"now": WINTER_NOON})
    assert not program.evaluate({"now": SUMMER_NOON})


def test_now_has_whole_seconds() -> None:
    program = compile_expression("now.getSeconds() == 0 && now.getMilliseconds() == 0")
    assert program.evaluate({"now": math.nextafter(SUMMER_NOON + 1, 0)})
