"""The attributes that an explanation shows of an expression."""

from typing import Any

import pytest

from tidegate_dataplane.engine.attributes import attributes_of

VARIABLES: dict[str, Any] = {
    "request": {
        "model": "gpt-4o",
        "headers": {"x-a": "1", "authorization": "Bearer sk-secret", "x-long": "y" * 500, "x-odd": "a\x1b[0m"},
        "bodyBytes": 7,
    },
    "consumer": {"roles": frozenset({"b", "a"}), "attributes": {"site": "berlin"}, "team": ""},
    "token": {"claims": {"groups": ["x", 3], "ok": True}, "authTime": 5},
    "now": 1_782_907_200.0,
}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("request.model == 'gpt'", "request.model = 'gpt-4o'"),
        ("request.bodyBytes > 3 && request.bodyBytes < 9", "request.bodyBytes = 7"),
        ("'x-a' in request.headers && request.headers['x-a'] == '2'", "request.headers['x-a'] = '1'"),
        ("has(request.headers.x) || consumer.team == ''", "request.headers['x'] is absent, consumer.team = ''"),
        ("'r' in consumer.roles", "consumer.roles = ['a', 'b']"),
        ("consumer.attributes.site == 'rome'", "consumer.attributes['site'] = 'berlin'"),
        ("size(consumer.attributes) > 1", "consumer.attributes holds ['site']"),
        ("token.claims.groups.exists(g, g == 'x')", "token.claims['groups'] = ['x', 3]"),
        ("token.claims['ok']", "token.claims['ok'] = true"),
        ("now.getHours('UTC') < 7", "now = 2026-07-01T12:00:00Z"),
        ("1 < 2", ""),
    ],
)
def test_values_stand_beside_names(source: str, shown: str) -> None:
    assert attributes_of(source, VARIABLES) == shown


def test_credentials_are_not_shown() -> None:
    shown = attributes_of("request.headers['authorization'].startsWith('Bearer sk')", VARIABLES)
    assert shown == "request.headers['authorization'] is given"


def test_what_callers_send_is_cut_and_printable() -> None:
    assert len(attributes_of("request.headers['x-long'] == ''", VARIABLES)) < 160
    assert "\x1b" not in attributes_of("request.headers['x-odd'] == ''", VARIABLES)
