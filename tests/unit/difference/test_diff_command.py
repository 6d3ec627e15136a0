"""`tidegate diff` as its user meets it: folders, revisions, clusters, exit codes, and words."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from inquiry.folder import FILES, NIGHT, NOON, run, written


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """OLD and NEW, alike."""
    found = tmp_path / "old", tmp_path / "new"
    for folder in found:
        folder.mkdir()
        written(folder)
    return found


def edit(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after))


def effect(*arguments: str) -> dict[str, Any]:
    code, output = run("diff", *arguments, "--at", NOON, "--output", "json")
    answer: dict[str, Any] = json.loads(output)
    found: dict[str, Any] = answer["effects"][0]
    assert code == (1 if any(found[part] for part in ("access", "limits", "moves", "objects", "refused")) else 0)
    return found


def test_the_same_folder_has_no_effect(sides: tuple[Path, Path]) -> None:
    old, new = map(str, sides)
    code, output = run("diff", old, new, "--at", NOON)
    assert (code, "no effect" in output) == (0, True)


def test_other_words_of_the_same_meaning_have_no_effect(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(old, "rest.yaml", "  models: [gpt-4o]", "  timeout: 60s\n  models: [gpt-4o]")
    edit(new, "rest.yaml", "  models: [gpt-4o]", "  # a comment\n  models:\n  - gpt-4o\n  timeout: 1m")
    assert run("diff", str(old), str(new), "--at", NOON)[0] == 0


def test_says_who_loses_what_and_by_which_rule(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "operations: [Chat]", "operations: [Embeddings]")
    code, output = run("diff", str(old), str(new), "--at", NOON)
    assert code == 1
    assert (
        "default/search loses gpt-4o on default/chat (Chat): 403 permission_denied by AIPolicy default/rules" in output
    )
    assert "default/search gains gpt-4o on default/chat (Embeddings)" in output
    assert "spec.authorization.rules[researchers].operations: Chat -> Embeddings" in output


def test_says_which_limits_move_for_whom(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "requests: 10\n", "requests: 5\n")
    (row,) = effect(*map(str, (old, new)))["limits"]
    assert (row["object"], row["name"]) == ("AIPolicy default/rules", "fast")
    assert row["consumers"]["names"] == ["default/search"]
    assert row["routes"] == ["default/chat"]
    assert "bursts of 10" in row["before"]
    assert "bursts of 5" in row["after"]


def test_says_which_route_takes_the_calls_of_another(sides: tuple[Path, Path]) -> None:
    old, new = sides
    hidden = FILES["rest.yaml"].split("---\n")[1].replace("name: chat", "name: more").replace("gpt-4o", '"*"')
    for folder in (old, new):
        (folder / "more.yaml").write_text(hidden)
    edit(new, "rest.yaml", "models: [gpt-4o]", "models: [gpt-4]")
    found = effect(str(old), str(new))
    away, back = found["moves"]
    assert (away["before"], away["after"], away["shadowed"]) == ("default/chat", "default/more", True)
    assert (away["models"], back["models"]) == (["gpt-4o"], ["gpt-4"])


def test_repeats_the_compilers_words_of_what_is_refused(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "now.getHours('UTC') < 7", "now.getHours('UTC' < 7")
    (row,) = effect(str(old), str(new))["refused"]
    assert row["object"] == "AIPolicy default/rules"
    assert row["field"] == "spec.authorization.rules[0].when"
    assert row["serves"] == "LastGoodForm"


def test_a_refused_object_changes_no_access_while_its_last_good_form_serves(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "roles: [researcher]", "roles: 7")
    found = effect(str(old), str(new))
    assert found["refused"]
    assert not found["access"]
    assert not found["objects"]


def test_names_a_file_that_can_no_longer_be_read(sides: tuple[Path, Path]) -> None:
    old, new = sides
    (new / "policy.yaml").write_text("apiVersion: tidegate.dev/v1alpha1\nkind: AIPolicy\nmetadata: {name: rules\n")
    found = effect(str(old), str(new))
    assert any(row["object"].startswith("policy.yaml:") for row in found["refused"])
    assert [row["after"] for row in found["access"] if row["kind"] == "Loses"], "with its only policy gone it is closed"


def test_says_once_of_a_suspended_consumer(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "rest.yaml", "spec:\n  roles: [researcher]", "spec:\n  suspended: true\n  roles: [researcher]")
    found = effect(str(old), str(new))
    assert [(row["kind"], row["after"]) for row in found["access"]] == [("Loses", "403 consumer_suspended")]
    (row,) = found["objects"]
    assert row["fields"] == [{"field": "spec.suspended", "before": "false", "after": "true"}]


def test_a_rule_by_time_is_named_though_nothing_shows_at_that_time(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "< 7", "< 8")
    found = effect(str(old), str(new))
    assert not found["access"]
    (row,) = found["conditional"]
    assert (row["rule"], row["dependsOn"]) == ("rule no-nights", ["now"])


def test_decides_at_the_time_that_is_asked_for(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "policy.yaml", "< 7", "< 2")
    code, output = run("diff", str(old), str(new), "--at", NIGHT)
    assert code == 1
    assert "default/search gains gpt-4o on default/chat (Chat)" in output


def test_each_cluster_has_its_own_effect(sides: tuple[Path, Path]) -> None:
    old, new = sides
    placed = "  placement: {clusterSelector: {matchLabels: {cloud: aws}}}\n  targetRefs:"
    edit(new, "policy.yaml", "  targetRefs:", placed)
    clusters = ("--cluster", "name=a,cloud=aws", "--cluster", "name=b,cloud=azure,tier=prod")
    code, output = run("diff", str(old), str(new), "--at", NOON, "--output", "json", *clusters)
    first, second = json.loads(output)["effects"]
    assert code == 1
    assert (first["cluster"], second["cluster"]) == ("a", "b")
    assert not first["access"]
    assert second["access"][0]["kind"] == "Loses", "where the policy is not placed, the route is closed"


def test_cluster_facts_that_are_none_are_refused(sides: tuple[Path, Path]) -> None:
    code, output = run("diff", *map(str, sides), "--cluster", "aws")
    assert (code, "NAME=VALUE" in output) == (2, True)


def test_markdown_is_no_markup_of_those_who_write_manifests(sides: tuple[Path, Path]) -> None:
    old, new = sides
    bad = "<img src=x> @everyone [x](http://evil) `|`"
    edit(new, "rest.yaml", "spec: {}", f'spec: {{attributes: {{note: "{bad}"}}}}')
    code, output = run("diff", str(old), str(new), "--at", NOON, "--output", "markdown")
    assert code == 1
    assert output.startswith("## What this change does")
    assert all(sign not in output for sign in ("<img", "@everyone", "[x]", "`|`"))
    assert "&#60;img" in output


def test_nobody_sees_a_key_or_its_hash(sides: tuple[Path, Path]) -> None:
    old, new = sides
    edit(new, "rest.yaml", "key-of-the-search-app", "another-key-of-the-app")
    for output in ("text", "json", "markdown"):
        code, text = run("diff", str(old), str(new), "--at", NOON, "--output", output)
        assert code == 1
        assert "another-key" not in text
        assert "key-of-the-search" not in text
    assert "follows from another object" in run("diff", str(old), str(new), "--at", NOON)[1]


# --- revisions ---


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of `policies/`, and files in the work tree that are none of them."""
    root = tmp_path / "repository"
    folder = root / "policies"
    folder.mkdir(parents=True)
    written(folder)
    git(root, "init", "-q", "-b", "main")
    commit(root, "before")
    edit(folder, "policy.yaml", "roles: [researcher]", "roles: [engineer]")
    commit(root, "after")
    monkeypatch.chdir(root)
    return root


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


@pytest.mark.parametrize(
    ("old", "new"),
    [("HEAD~1", "main"), ("HEAD~1:policies", "HEAD:policies"), ("main~1", "policies"), ("HEAD~1:policies", "policies")],
)
def test_compares_revisions_and_folders(repository: Path, old: str, new: str) -> None:
    code, output = run("diff", old, new, "--at", NOON)
    assert code == 1
    assert "default/search loses gpt-4o" in output


def test_never_touches_the_work_tree(repository: Path) -> None:
    edit(repository / "policies", "policy.yaml", "engineer", "uncommitted")
    (repository / "policies" / "new.yaml").write_text("not read: it is in no commit\n")
    before = git(repository, "status", "--porcelain"), (repository / ".git" / "index").read_bytes()
    assert run("diff", "HEAD", "HEAD", "--at", NOON)[0] == 0
    assert (git(repository, "status", "--porcelain"), (repository / ".git" / "index").read_bytes()) == before


def test_a_folder_says_which_part_of_the_revision_is_meant(repository: Path) -> None:
    (repository / "elsewhere.yaml").write_text(FILES["rest.yaml"].replace("default", "other"))
    commit(repository, "elsewhere")
    assert run("diff", "HEAD", "policies", "--at", NOON)[0] == 0


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("nonesuch", "neither a folder here nor a revision"),
        ("HEAD:nonesuch", "holds no files"),
        ("HEAD:../..", "leads out of the repository"),
        (":policies", "is no revision"),
    ],
)
def test_says_what_is_wrong_with_a_revision(repository: Path, old: str, words: str) -> None:
    code, output = run("diff", old, "policies", "--at", NOON)
    assert code == 2
    assert words in output


def test_a_revision_is_never_taken_for_an_option(repository: Path) -> None:
    assert run("diff", "--", "--output=/tmp/x", "policies")[0] == 2


def test_says_that_git_is_missing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, output = run("diff", "HEAD", "policies", "--at", NOON)
    assert (code, "git is not installed" in output) == (2, True)


def test_outside_of_a_repository_the_folder_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run("diff", "nonesuch", "nonesuch")
    assert (code, "nonesuch: no such folder" in output) == (2, True)


def test_links_within_a_revision_are_followed_and_no_further(repository: Path) -> None:
    (repository / "policies" / "outside.yaml").symlink_to("/etc/hostname")
    consumer = "apiVersion: tidegate.dev/v1alpha1\nkind: AIConsumer\nmetadata: {name: linked}\n"
    (repository / "shared.yaml").write_text(consumer)
    (repository / "policies" / "linked.yaml").symlink_to("../shared.yaml")
    commit(repository, "links")
    code, output = run("diff", "HEAD~1:policies", "HEAD:policies", "--at", NOON)
    assert code == 1
    assert "AIConsumer default/linked: new" in output
    assert "outside.yaml: the link leads to no file of the revision" in output


# --- replay ---

LINE: dict[str, Any] = {
    "v": 1,
    "time": NOON,
    "requestId": "r1",
    "outcome": "Served",
    "status": 200,
    "consumer": "default/search",
    "key": "main",
    "method": "APIKey",
    "address": "10.0.0.1",
    "path": "/v1/chat/completions",
    "route": "default/chat",
    "operation": "Chat",
    "model": "gpt-4o",
}


def replayed(sides: tuple[Path, Path], log: bytes, name: str = "audit.jsonl") -> dict[str, Any]:
    path = sides[0].parent / name
    path.write_bytes(log)
    found: dict[str, Any] = effect(*map(str, sides), "--replay", str(path))["replay"]
    return found


def line(**changes: object) -> bytes:
    return json.dumps({**LINE, **changes}).encode() + b"\n"


def test_replays_recorded_requests(sides: tuple[Path, Path]) -> None:
    edit(sides[1], "policy.yaml", "roles: [researcher]", "roles: [engineer]")
    log = line() + line(requestId="r2") + line(requestId="r3", time=NIGHT, outcome="Denied", status=403)
    found = replayed(sides, gzip.compress(log), "audit.jsonl.gz")
    assert (found["requests"], found["decided"], found["differing"]) == (3, 3, 2)
    (change,) = found["changes"]
    assert change["after"] == "403 permission_denied by AIPolicy default/rules"
    assert [one["requestId"] for one in change["examples"]] == ["r1", "r2"]
    assert found["notAsRecorded"] == 0


def test_says_what_cannot_be_decided_again(sides: tuple[Path, Path]) -> None:
    log = b"".join(
        [
            json.dumps({"v": 1, "event": "Lost", "time": NOON, "records": 7}).encode() + b"\n",
            line(consumer="", key="", method="", outcome="Denied", status=401, code="invalid_api_key"),
            line(consumer="default/of-a-token", method="JWT"),
            line(outcome="Rejected", status=400, operation=""),
            line(outcome="Denied", status=403),
            b"a line of another program\n",
            line()[:40],
        ]
    )
    found = replayed(sides, log)
    assert (found["requests"], found["decided"], found["differing"]) == (4, 1, 0)
    assert sum(found["undecided"].values()) == 3
    assert (found["lost"], found["foreign"], found["torn"]) == (7, 1, 1)
    assert found["notAsRecorded"] == 1


def test_says_which_headers_it_takes_for_granted(sides: tuple[Path, Path]) -> None:
    for folder in sides:
        edit(folder, "policy.yaml", "now.getHours('UTC') < 7", "request.headers['x-a'] == 'b'")
    assert any("headers" in words for words in replayed(sides, line())["assumed"])


def test_a_log_that_is_not_there_is_told(sides: tuple[Path, Path]) -> None:
    code, output = run("diff", *map(str, sides), "--replay", "nonesuch.jsonl")
    assert (code, "nonesuch.jsonl: No such file" in output) == (2, True)
