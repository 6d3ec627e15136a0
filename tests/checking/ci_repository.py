"""A git repository as a user has it: policies on main, and a change on a branch; and the scripts of CI files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "examples" / "ci"
IDENTITY = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")


class Repository:
    """policies/ holds the quickstart; `base` is the commit before the change, HEAD the change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(path),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        shutil.copytree(ROOT / "examples" / "quickstart", path / "policies")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("policies")
        self.base = self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        command = ["git", *IDENTITY, *arguments]
        return subprocess.run(
            command, cwd=self.path, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def change(self, old: str, new: str) -> None:
        """Replace text in the route, and commit."""
        file = self.path / "policies" / "route.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        self.commit("a change")

    def run(self, script: str, environment: Mapping[str, str], *, shell: tuple[str, ...]) -> tuple[int, str]:
        """A script of a CI file, with what the CI system would set."""
        ended = subprocess.run(
            [*shell, script],
            cwd=self.path,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return ended.returncode, ended.stdout + ended.stderr


def ci_file(name: str) -> Any:
    """A CI file, read by a real parser; `on` of GitHub's is `True` in YAML 1.1."""
    return yaml.safe_load((CI / name).read_text())


def filled(text: str, values: Mapping[str, str]) -> str:
    """GitHub's expressions with their values; KeyError for one that the test does not know."""
    return re.sub(r"\$\{\{ *([^}]*?) *\}\}", lambda match: values[match[1]], text)
