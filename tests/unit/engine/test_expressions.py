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
            "peer": "2001:db8::7",
            "proxyHeaders": {"x-device-posture": "compliant"},
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
            "methods": ("JWT", "MTLS"),
        },
        "token": {
            "issuer": "https://idp.example.com",
            "subject": "app-42",
            "acr": "gold",
            "authTime": int(SUMMER_NOON) - 600,
            "claims": {
                "groups": ["staff", "admin"],
                "level": 3,
                "ratio": 0.5,
                "employee": True,
                "nothing": None,
                "realm_access": {"roles": ["inference"], "tenants": [{"id": "t-1"}]},
                "https://example.com/region": "eu",
            },
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
        ("request.address.inNetwork('192.0.2.0/24')", True),
        ("request.address.inNetwork('192.0.2.7')", True),
        ("request.address.inNetwork('10.0.0.0/8') || request.address.inNetwork('2001:db8::/32')", False),
        ("request.peer.inNetwork('2001:db8::/32')", True),
        ("'::ffff:10.1.2.3'.inNetwork('10.0.0.0/8')", True),
        ("request.proxyHeaders['x-device-posture'] == 'compliant'", True),
        ("has(request.proxyHeaders.absent)", False),
        ("'MTLS' in consumer.methods && 'JWT' in consumer.methods", True),
        ("token.issuer == 'https://idp.example.com' && token.subject.startsWith('app-')", True),
        ("token.acr == 'gold' && now - token.authTime <= duration('10m')", True),
        ("token.authTime > timestamp('2026-07-01T11:51:00Z')", False),
        ("'admin' in token.claims.groups", True),
        ("'admin' in token.claims['groups']", True),
        ("token['claims']['groups'][1] == 'admin'", True),
        ("token.claims.groups.exists(g, g.startsWith('sta'))", True),
        ("'groups' in token.claims && !('none' in token.claims)", True),
        ("token.claims.level >= 2", True),
        ("token.claims.ratio < 0.75", True),
        ("token.claims.employee", True),
        ("token.claims.nothing == null", True),
        ("type(token.claims.groups) == list", True),
        ("'inference' in token.claims.realm_access.roles", True),
        ("token.claims.realm_access.tenants.exists(t, t.id == 't-1')", True),
        ("has(token.claims.realm_access) && has(token.claims.realm_access.roles)", True),
        ("has(token.claims.department) && token.claims.department == 'research'", False),
        ("token.claims['https://example.com/region'] == 'eu'", True),
        ("size(token.claims.groups) == 2 && token.claims.level + 1 == 4", True),
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
        ("has(request.headers['x-a'])", "write 'x-name' in request.headers instead"),
        ("request.modle == 'x'", "did you mean 'request.model'?"),
        ("request.body_bytes > 1", "did you mean 'request.bodyBytes'?"),
        ("request['modle'] == 'x'", "did you mean 'request.model'?"),
        ("false && request.modle == 'x'", "did you mean 'request.model'?"),
        ("has(request.modle)", "did you mean 'request.model'?"),
        ("route.tier == 'x'", "there are route.name, route.namespace"),
        ("conusmer.name == 'x'", "did you mean 'consumer'?"),
        ("user == 'x'", "there is no variable 'user'"),
        ("token.sub == 'x'", "did you mean 'token.subject'?"),
        ("token.claim.groups == []", "did you mean 'token.claims'?"),
        (
            "backend.jurisdiction == 'EU'",
            "'backend' cannot be read here; there is consumer, now, request",
        ),
        ("'a' in consumer.method", "did you mean 'consumer.methods'?"),
        ("request.proxyheaders['x-a'] == 'a'", "did you mean 'request.proxyHeaders'?"),
        ("request.proxyHeaders['X-A'] == 'a'", "write 'x-a', not 'X-A'"),
        ("request.address.inNetwrk('10.0.0.0/8')", "did you mean 'inNetwork'?"),
        ("request.address.inNetwork('10.0.0.1/8')", "did you mean '10.0.0.0/8'?"),
        ("request.address.inNetwork('10.0.0/8')", "'10.0.0/8' is not a network"),
        ("request.address.inNetwork(consumer.team)", "write a network in quotes"),
        ("inNetwork('10.0.0.0/8')", "write a network in quotes"),
        ("request.bodyBytes.inNetwork('10.0.0.0/8')", "an address is a string, not int"),
        ("request.model.getHours('UTC') < 7", "getHours() is of a timestamp, not of str"),
        ("size(token.claims.groups)", "an int, not a bool"),
        ("token.claims.groups + 'x' == 1 - token.claims.groups", "unlike types"),
        ("request.model.matches(request.headers['x-a'])", "takes a pattern in quotes"),
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
        "token.claims.unknown == 'a'",
        "token.claims.unknown.roles == ['a']",
        "'a' in token.claims.level",
        "token.claims.groups >= 2",
        "token.claims.level",
        "request.host.inNetwork('10.0.0.0/8')",
        "''.inNetwork('10.0.0.0/8')",
        "request.proxyHeaders['x-country'] == 'DE'",
        "consumer.roles[7] == 'a'",
        "10 / (request.bodyBytes - 600) > 1",
    ],
)
def test_has_no_value_for_this_call(text: str) -> None:
    program = compile_expression(text)
    with pytest.raises(EvaluationError):
        program.evaluate(variables())


def test_what_is_no_address_is_told() -> None:
    with pytest.raises(EvaluationError, match=r"^'ai\.example\.com' is not an address"):
        compile_expression("request.host.inNetwork('10.0.0.0/8')").evaluate(variables())


@pytest.mark.parametrize(
    "text",
    [
        "request.host.inNetwork('10.0.0.0/8') == false",
        "!request.host.inNetwork('10.0.0.0/8')",
        "request.host.inNetwork('10.0.0.0/8') || true",
        "token.claims.groups.exists(g, !g.inNetwork('10.0.0.0/8'))",
        "token.claims.realm_access.roles.all(r, r.getHours('Europe/Berlin') < 7)",
    ],
)
def test_a_function_that_fails_leaves_no_value_whatever_comes_of_it_and_no_line_in_the_log(
    text: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    program = compile_expression(text)
    for _ in range(2):
        with pytest.raises(EvaluationError):
            program.evaluate(variables())
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    good = variables()["request"] | {"host": "192.0.2.1"}
    if "host" in text:
        assert program.evaluate(variables(request=good)) is True


def test_a_fault_does_not_outlive_its_evaluation() -> None:
    program = compile_expression("request.host.inNetwork('10.0.0.0/8') && request.headers['x-none'] == 'a'")
    with pytest.raises(EvaluationError):
        program.evaluate(variables(request={"host": "nowhere", "headers": {}}))
    assert program.evaluate(variables(request={"host": "10.0.0.1", "headers": {"x-none": "a"}}))


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


def test_a_condition_of_a_rule_may_look_at_the_backend() -> None:
    program = compile_expression("backend.jurisdiction == 'EU' && backend.version != ''", by_target=True)
    assert program.variables == {"backend"}
    assert program.evaluate({"backend": {"jurisdiction": "EU", "version": "1"}})
    with pytest.raises(ExpressionError, match=r"did you mean 'backend\.region'"):
        compile_expression("backend.regoin == 'x'", by_target=True)


@pytest.mark.parametrize("seconds", [10**20, -(10**20)])
def test_a_time_beyond_the_calendar_has_no_value(seconds: int) -> None:
    program = compile_expression("token.authTime < now")
    with pytest.raises(EvaluationError, match=r"token\.authTime is not a time"):
        program.evaluate(variables(token={"authTime": seconds}))


def test_claims_that_are_alike_but_of_another_type_have_results_of_their_own() -> None:
    program = compile_expression("token.claims.level == 1 && type(token.claims.level) == int")
    held: list[object] = [1, True, 1.0, "1", [1], {"1": 1}, 1]
    found = [program.evaluate({"token": {"claims": {"level": value}}}) for value in held]
    assert found == [True, False, False, False, False, False, True]


def test_results_with_a_clock_hold_no_longer_than_a_second() -> None:
    program = compile_expression("now.getSeconds() == 0 && consumer.team == 'search'")
    for now, value in ((SUMMER_NOON, True), (SUMMER_NOON + 0.9, True), (SUMMER_NOON + 1, False), (SUMMER_NOON, True)):
        assert program.evaluate(variables(now=now)) is value


@pytest.mark.parametrize("held", ["\ud800", ["\ud800"], {"\ud800": 1}, 10**400, [{"a": object()}]])
def test_a_claim_that_no_expression_can_read_has_no_value(held: object) -> None:
    program = compile_expression("token.claims.a == 'x'")
    assert program.evaluate({"token": {"claims": {"a": "x"}}})
    for _ in range(2):
        with pytest.raises(EvaluationError, match=r"token\.claims holds what no expression can read"):
            program.evaluate({"token": {"claims": {"a": held}}})
    assert program.evaluate({"token": {"claims": {"a": "x"}}})
