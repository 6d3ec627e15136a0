"""`tidegate who-can` and `tidegate access` as their user meets them."""

import json
from pathlib import Path

from inquiry.folder import NIGHT, NOON, run, written


def test_who_can_use_a_model(tmp_path: Path) -> None:
    folder = str(written(tmp_path))
    at = ("--at", NOON, "--source-ip", "10.0.0.7")
    code, output = run("who-can", folder, "--model", "gpt-4o", *at)
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "default/search  APIKey  AIRoute default/chat, by AIPolicy default/rules rule researchers"
    assert lines[-1].startswith("1 let in, 1 not; 1 route tried in")
    assert run("who-can", folder, "--model", "gpt-4o", "--operation", "Embeddings", *at)[1].startswith(
        "0 let in, 2 not"
    )
    assert run("who-can", folder, "--model", "gpt-4o", "--at", NIGHT)[1].startswith("0 let in, 2 not")
    assert run("who-can", folder, "--model", "gpt-5", *at)[1].startswith("nobody: no route serves Chat of 'gpt-5'")


def test_who_can_as_json(tmp_path: Path) -> None:
    folder = str(written(tmp_path))
    _, output = run("who-can", folder, "--model", "gpt-4o", "--at", NOON, "--source-ip", "10.0.0.7", "-o", "json")
    body = json.loads(output)
    assert [(one["consumer"], one["methods"], one["route"]) for one in body["granted"]] == [
        ("default/search", ["APIKey"], "default/chat")
    ]
    assert (body["refused"], body["anonymous"]) == (1, False)


def test_what_a_consumer_can_use(tmp_path: Path) -> None:
    folder = str(written(tmp_path))
    code, output = run("access", "search", folder, "--at", NOON, "--source-ip", "10.0.0.7")
    assert code == 0
    allowed, _, refused = output.partition("cannot use:")
    assert "AIRoute default/chat  Chat  gpt-4o  by APIKey" in allowed
    assert "AIPolicy default/rules fast of default/search: bursts of 10" in allowed
    assert "AIRoute default/chat  Embeddings  gpt-4o" in refused
    assert "operation Embeddings is not among [Chat]" in refused


def test_a_consumer_without_a_credential_can_use_nothing(tmp_path: Path) -> None:
    _, output = run("access", "intern", str(written(tmp_path)), "--at", NOON)
    assert "AIConsumer default/intern can use nothing" in output
    assert "it has no credential by which it could call" in output


def test_an_unknown_consumer(tmp_path: Path) -> None:
    code, output = run("access", "nobody", str(written(tmp_path)))
    assert (code, "there is no AIConsumer default/nobody" in output) == (2, True)
