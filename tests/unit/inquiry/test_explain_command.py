"""`tidegate explain` as its user meets it."""

import json
from pathlib import Path

import pytest

from inquiry.folder import KEY, NIGHT, NOON, run, written

CALL = ("--model", "gpt-4o", "--at", NOON, "--source-ip", "10.0.0.7")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    return "."


def test_what_is_allowed_names_rule_file_and_line(folder: str) -> None:
    code, output = run("explain", folder, "--as", "search", *CALL)
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "ALLOWED by AIPolicy default/rules rule researchers"
    assert "AIPolicy default/rules rule no-nights" in output
    assert "(policy.yaml:11)" in output  # no-nights
    assert "(policy.yaml:14)" in output  # researchers
    assert "(policy.yaml:18)" in output  # network
    assert "(policy.yaml:21)" in output  # the rate limit
    assert "now = 2026-07-01T12:00:00Z" in output
    assert "AIBackend default/mock" in output


def test_a_refusal_says_why_first_and_what_would_help_last(folder: str) -> None:
    code, output = run("explain", folder, "--as", "intern", *CALL)
    assert code == 1
    lines = output.splitlines()
    assert lines[0].startswith("DENIED 403 permission_denied: authorization: AIPolicy default/rules")
    assert "researchers: the caller has [], the rule names [researcher]" in lines[0]
    assert lines[lines.index("to allow this call:") + 1] == (
        "  - give AIConsumer default/intern the role researcher (spec.roles)"
    )


def test_at_night_another_time_is_offered(folder: str) -> None:
    _, output = run("explain", folder, "--as", "search", "--model", "gpt-4o", "--at", NIGHT, "--source-ip", "10.0.0.7")
    assert output.startswith("DENIED 403")
    assert "call at another time, such as 2026-07-01T07:00:00Z (Wednesday)" in output
    assert "remove the rule no-nights (Deny) of AIPolicy default/rules" in output


def test_from_elsewhere_another_address_is_offered(folder: str) -> None:
    _, output = run("explain", folder, "--as", "search", "--model", "gpt-4o", "--at", NOON, "--source-ip", "192.0.2.7")
    assert output.startswith("DENIED 403 address_not_allowed")
    assert "call from 10.0.0.0/8, for example 10.0.0.1" in output
    assert "add 192.0.2.7/32 to network.allow of AIPolicy default/rules" in output


def test_several_changes_are_found_together(folder: str) -> None:
    _, output = run("explain", folder, "--as", "intern", "--model", "gpt-4o", "--at", NIGHT, "--source-ip", "10.0.0.7")
    assert "call at another time" in output
    assert ", and give AIConsumer default/intern the role researcher" in output


def test_who_goes_first_is_said_where_it_is_not_as_usual(folder: str, tmp_path: Path) -> None:
    _, output = run("explain", folder, "--as", "search", *CALL)
    assert "AIConsumer default/search by APIKey\n" in output
    rest = tmp_path / "rest.yaml"
    rest.write_text(rest.read_text().replace("  roles: [researcher]\n", "  roles: [researcher]\n  priority: High\n", 1))
    _, output = run("explain", folder, "--as", "search", *CALL)
    assert "AIConsumer default/search by APIKey, priority High\n" in output
    _, output = run("explain", folder, "--as", "search", *CALL, "--output", "json")
    assert json.loads(output)["priority"] == "High"


def test_a_key_in_a_header_says_who_calls_and_is_never_repeated(folder: str) -> None:
    code, output = run("explain", folder, "--header", f"authorization: Bearer {KEY}", *CALL)
    assert code == 0
    assert "AIConsumer default/search by APIKey" in output
    assert KEY not in output
    code, output = run("explain", folder, "--header", "authorization: Bearer sk-something-else", *CALL)
    assert code == 1
    assert "invalid_api_key" in output
    assert "sk-something-else" not in output


def test_json_holds_the_same(folder: str) -> None:
    code, output = run("explain", folder, "--as", "default/intern", *CALL, "--output", "json")
    body = json.loads(output)
    assert code == 1
    assert (body["admitted"], body["denial"]["code"]) == (False, "permission_denied")
    assert body["remedies"][0]["changes"] == [
        {
            "side": "Consumer",
            "text": "give AIConsumer default/intern the role researcher (spec.roles)",
            "object": "AIConsumer default/intern",
            "rule": "",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--as", "nobody", *CALL), "there is no consumer 'default/nobody'"),
        (("--as", "search", "--model", "gpt-4o", "--at", "soon"), "time 'soon' is no time"),
        (("--as", "search", *CALL, "--method", "Fax"), "there is no method 'Fax'"),
        (("--as", "search", *CALL, "--path", "/v1/fax"), "stands for no operation"),
        (("--as", "search", *CALL, "--method", "JWT"), "no provider of an AIPolicy vouches by JWT"),
        (("--as", "search", *CALL, "--claim", "sub=a"), "claims are of a token"),
    ],
)
def test_questions_that_cannot_be_asked(folder: str, arguments: tuple[str, ...], told: str) -> None:
    code, output = run("explain", folder, *arguments)
    assert code == 2
    assert told in output


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    code, output = run("explain", str(tmp_path / "nowhere"), "--model", "gpt-4o")
    assert (code, "no such file" in output) == (2, True)


def test_asking_which_models_there_are_is_no_call_to_one(folder: str) -> None:
    code, output = run("explain", folder, "--as", "search", *CALL, "--operation", "Models")
    assert (code, "which is no call to one" in output) == (2, True)
