"""A Git repository that a test pushes to, and that Argo CD reads by its file:// address."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

_IDENTITY = {
    name: value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in ((f"GIT_{role}_NAME", "tests"), (f"GIT_{role}_EMAIL", "tests@example.com"))
}


class Repository:
    """A bare repository, and a work tree of its branch `main`."""

    def __init__(self, directory: Path) -> None:
        """Both lie in `directory`. Nothing is committed yet."""
        self._bare, self._tree = directory / "gateway.git", directory / "gateway"
        self.url = f"file://{self._bare}"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self._bare], check=True)
        subprocess.run(["git", "clone", "-q", self._bare, self._tree], check=True, capture_output=True)
        self._git("checkout", "-q", "-b", "main")

    def write(self, path: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Put these documents into a file of the work tree."""
        self.write_text(path, yaml.safe_dump_all([dict(each) for each in documents], sort_keys=False))

    def write_text(self, path: str, text: str) -> None:
        """Put this text into a file of the work tree."""
        target = self._tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def copy(self, source: Path, path: str) -> None:
        """Put a whole folder into the work tree."""
        shutil.copytree(source, self._tree / path, dirs_exist_ok=True)

    def remove(self, path: str) -> None:
        """Take a file away."""
        (self._tree / path).unlink()

    def push(self, message: str) -> str:
        """Commit the work tree and push it; returns the commit."""
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message)
        return self._pushed()

    def clone(self, folder: Path, *, ahead: int = 0) -> Path:
        """A clone in `folder`, whose branch has so many empty commits more, which nobody pushed."""
        subprocess.run(["git", "clone", "-q", self._bare, folder], check=True, capture_output=True)
        for number in range(ahead):
            self._git("commit", "-q", "--allow-empty", "-m", f"Not pushed {number}", folder=folder)
        return folder

    def revert(self, commit: str) -> str:
        """`git revert` and push; returns the new commit."""
        self._git("revert", "--no-edit", commit)
        return self._pushed()

    def _pushed(self) -> str:
        self._git("push", "-q", "origin", "main")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str, folder: Path | None = None) -> str:
        environment = {**os.environ, **_IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(
            command, cwd=folder or self._tree, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()
