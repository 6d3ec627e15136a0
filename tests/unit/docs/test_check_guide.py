"""The commands of the guide to CI run as printed, and the reference of lints has every code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checking.ci_repository import Repository
from inquiry.folder import run
from tidegate_operator.lint.codes import LINTS

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "how-to" / "check-in-ci.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "lint.md").read_text()
COMMANDS = re.findall(r"^\$ tidegate (.*)$", GUIDE, re.MULTILINE)


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.path)
    code, output = run(*command.split())
    assert code == 0, output


def test_the_summary_is_the_one_that_is_shown(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.path)
    shown = re.search(r"^validate: .*\ntest: .*\nlint: .*\n", GUIDE, re.MULTILINE)
    assert shown is not None
    assert shown[0] in run("check", "policies")[1]


def test_every_lint_has_its_row_and_every_row_its_lint() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", REFERENCE, re.MULTILINE)
    expected = [(code.value, lint.level.value, lint.meaning, lint.remedy) for code, lint in sorted(LINTS.items())]
    assert rows == expected
