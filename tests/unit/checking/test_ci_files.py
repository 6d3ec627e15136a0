"""The CI files run as they are, in a repository of their own: only the lines that install are left out."""

from __future__ import annotations

import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
import yaml

from checking.ci_repository import CI, ROOT, Repository, ci_file, filled

GITHUB_SHELL = ("bash", "-e", "-o", "pipefail", "-c")
GITLAB_SHELL = ("bash", "-e", "-o", "pipefail", "-c")
INSTALLS = re.compile(r"pip install|apt-get install")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_every_file_is_one_that_its_reader_takes() -> None:
    assert {path.name for path in CI.iterdir()} == {
        "github-actions.yaml",
        "gitlab-ci.yaml",
        "pre-commit-config.yaml",
    }
    workflow = ci_file("github-actions.yaml")
    assert set(workflow) == {"name", True, "permissions", "concurrency", "env", "jobs"}  # YAML 1.1 reads `on` so
    assert set(workflow[True]) == {"pull_request"}
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    (job,) = workflow["jobs"].values()
    assert set(job) == {"runs-on", "timeout-minutes", "steps"}
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"name", "uses", "with", "run", "env", "if"}
        # Nothing but what GitHub itself keeps.
        assert step.get("uses", "actions/").startswith("actions/")

    pipeline = ci_file("gitlab-ci.yaml")
    assert set(pipeline) == {"stages", "policies"}
    job = pipeline["policies"]
    assert job["stage"] in pipeline["stages"]
    assert set(job) == {"stage", "image", "rules", "variables", "before_script", "script", "artifacts"}
    assert all(isinstance(line, str) for line in (*job["before_script"], *job["script"]))
    assert set(job["artifacts"]["reports"]) == {"junit"}
    assert all(isinstance(value, str) for value in job["variables"].values())


def test_no_expression_of_github_stands_in_a_script() -> None:
    """What a pull request is called or contains must not become part of a script."""
    for step in _steps():
        assert "${{" not in step.get("run", "")


def _steps() -> list[dict[str, Any]]:
    (job,) = ci_file("github-actions.yaml")["jobs"].values()
    return list(job["steps"])


class GitHub:
    """Runs the scripts of the workflow one after another, as a runner does; a fake `gh` writes down its arguments."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.summary = repository.path.parent / "summary.md"
        self.summary.touch()
        self.comments = repository.path.parent / "gh.txt"
        tools = repository.path.parent / "tools"
        tools.mkdir()
        (tools / "gh").write_text(
            f'#!/bin/sh\necho "$@" >> {self.comments}\ncase "$*" in *--edit-last*) exit 1;; esac\n'
        )
        (tools / "gh").chmod(0o755)
        self.tools = tools

    def run(self, *names: str) -> dict[str, tuple[int, str]]:
        """Exit code and output of each step by its name; of all steps where none is named."""
        workflow = ci_file("github-actions.yaml")
        values = {
            "github.event.pull_request.base.sha": self.repository.base,
            "github.event.pull_request.number": "17",
            "github.token": "not-a-token",
        }
        shared = {
            **workflow["env"],
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "PATH": f"{self.tools}:{self.repository.environment['PATH']}",
        }
        outcome: dict[str, tuple[int, str]] = {}
        for step in _steps():
            if "run" not in step or INSTALLS.search(step["run"]) or (names and step["name"] not in names):
                continue
            own = {name: filled(str(value), values) for name, value in step.get("env", {}).items()}
            outcome[step["name"]] = self.repository.run(step["run"], {**shared, **own}, shell=GITHUB_SHELL)
        return outcome


CHECK, EFFECT, COMMENT = "Validate, test and lint", "Say what the change does", "Comment on the pull request"


@pytest.fixture
def github(tmp_path: Path) -> GitHub:
    folder = tmp_path / "repository"
    folder.mkdir()
    return GitHub(Repository(folder))


def test_a_pull_request_is_judged_and_told_what_it_does(github: GitHub) -> None:
    github.repository.change("models:", "timeout: 30s\n  models:")
    outcome = github.run()
    assert set(outcome) == {CHECK, EFFECT, COMMENT}
    assert {name: code for name, (code, _) in outcome.items()} == dict.fromkeys(outcome, 0), outcome
    report = ElementTree.parse(github.repository.path / "tidegate-check.xml").getroot()
    assert report.tag == "testsuites"
    assert not list(report.iter("failure"))
    assert github.summary.read_text() == (github.repository.path / "effect.md").read_text() != ""
    # The first comment is there to be edited only from the second run on.
    assert github.comments.read_text().splitlines() == [
        "pr comment 17 --body-file effect.md --edit-last",
        "pr comment 17 --body-file effect.md",
    ]


def test_a_pull_request_that_breaks_something_fails_at_its_line(github: GitHub) -> None:
    github.repository.change("operations:", "operation:")
    code, output = github.run(CHECK)[CHECK]
    assert code == 1
    assert re.search(r"^::error file=policies/route.yaml,line=\d+,title=Invalid::", output, re.MULTILINE), output
    report = ElementTree.parse(github.repository.path / "tidegate-check.xml").getroot()
    assert list(report.iter("failure"))


class _Notes(http.server.BaseHTTPRequestHandler):
    """The part of GitLab's API that takes a comment."""

    taken: ClassVar[list[tuple[str, str | None, dict[str, list[str]]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.taken.append((self.path, self.headers["PRIVATE-TOKEN"], parse_qs(body)))
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not among the test's output."""


@pytest.fixture
def gitlab() -> Iterator[str]:
    _Notes.taken.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Notes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v4"
        server.shutdown()
        thread.join()


def _pipeline(repository: Repository, api: str, token: str) -> tuple[int, str]:
    job = ci_file("gitlab-ci.yaml")["policies"]
    lines = [line for line in (*job["before_script"], *job["script"]) if not INSTALLS.search(line)]
    environment = {
        **job["variables"],
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.base,
        "CI_MERGE_REQUEST_IID": "9",
        "CI_PROJECT_ID": "42",
        "CI_API_V4_URL": api,
        "TIDEGATE_TOKEN": token,
    }
    return repository.run("\n".join(lines), environment, shell=GITLAB_SHELL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the script needs curl")
def test_a_merge_request_is_judged_and_told_what_it_does(repository: Repository, gitlab: str) -> None:
    repository.change("models:", "timeout: 30s\n  models:")
    code, output = _pipeline(repository, gitlab, "not-a-token")
    assert code == 0, output
    ((path, token, body),) = _Notes.taken
    assert path == "/api/v4/projects/42/merge_requests/9/notes"
    assert token == "not-a-token"
    assert body["body"][0].strip() == (repository.path / "effect.md").read_text().strip() != ""
    assert (repository.path / "tidegate-check.xml").exists()


def test_a_merge_request_without_a_token_is_judged_all_the_same(repository: Repository, gitlab: str) -> None:
    repository.change("operations:", "operation:")
    code, output = _pipeline(repository, gitlab, "")
    assert code != 0
    assert "did you mean operations?" in output
    assert not _Notes.taken


def test_the_hooks_run_what_they_say(repository: Repository) -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    for hook in hooks.values():
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert re.search(hook["files"], "policies/route.yaml")
    (used,) = ci_file("pre-commit-config.yaml")["repos"]
    assert set(used) == {"repo", "rev", "hooks"}
    for use in used["hooks"]:
        hook = {**hooks[use["id"]], **use}
        assert re.search(hook["files"], "policies/route.yaml")
        assert not re.search(hook["files"], "src/main.yaml")
        command = " ".join([hook["entry"], *hook["args"]])
        code, output = repository.run(command, {}, shell=GITHUB_SHELL)
        assert code == 0, output
    changed = "policies/route.yaml policies/policy.yaml"
    code, output = repository.run(f"{hooks['tidegate-validate']['entry']} {changed}", {}, shell=GITHUB_SHELL)
    assert code == 0, output
    repository.change("operations:", "operation:")
    assert repository.run(f"{hooks['tidegate-validate']['entry']} {changed}", {}, shell=GITHUB_SHELL)[0] == 1
