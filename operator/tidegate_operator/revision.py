"""Files of a git revision, read from the repository's objects: the work tree and the index are never touched."""

import os
import posixpath
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tidegate_operator.manifest_files import is_manifest_path

_BLOB, _LINK, _MODULE = "100", "120000", "160000"
_MAX_BYTES = 8 * 1024 * 1024
_TIMEOUT = 120.0
# No prompt, no lock, no fetch, and a path is a path.
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}


class RevisionError(Exception):
    """A revision cannot be read; the message says what to do."""


class Revision(NamedTuple):
    """A commit and a folder (or file) in it. `path` is relative to the repository's root, "" for all of it."""

    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.commit[:12]}{f':{self.path}' if self.path else ''}"


class _Node(NamedTuple):
    mode: str
    name: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository that holds `folder`."""

    git: str
    folder: Path
    root: Path

    @classmethod
    def around(cls, folder: Path) -> "Repository":
        """The repository around a folder; raises RevisionError when there is none, or no git."""
        git = shutil.which("git")
        if git is None:
            raise RevisionError("git is not installed (or not on PATH), and a revision is read by it: give two folders")
        try:
            top = _run(git, folder, "rev-parse", "--show-toplevel")
        except RevisionError as error:
            raise RevisionError(f"{folder} is in no git repository that can be read ({error}): give folders") from None
        return cls(git, folder, Path(os.fsdecode(top.rstrip(b"\n"))))

    def find(self, text: str, beside: Path | None = None) -> Revision:
        """`main`, `HEAD~1` or `REV:path`. Without a path it is the folder `beside` when that is in this repository,
        else all of it. Raises RevisionError."""
        name, colon, path = text.partition(":")
        if not name or name.startswith("-"):
            raise RevisionError(f"{text!r} is no revision: write one such as main, HEAD~1 or main:policies")
        try:
            commit = _run(
                self.git, self.folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            )
        except RevisionError:
            raise RevisionError(
                f"{name!r} is neither a folder here nor a revision of {self.root}: check the name, and fetch it first "
                "(a shallow clone has only the newest commits: git fetch --unshallow)"
            ) from None
        return Revision(commit.decode().strip(), self._inside(path, beside) if colon else self._of(beside))

    def _inside(self, path: str, beside: Path | None) -> str:
        if path.startswith(("./", "../")):
            path = posixpath.join(self._of(self.folder), path)
        inside = posixpath.normpath(path).strip("/") if path else ""
        if inside.startswith(".."):
            raise RevisionError(f"{path!r} leads out of the repository {self.root}")
        return "" if inside == "." else inside

    def _of(self, beside: Path | None) -> str:
        if beside is None:
            return ""
        try:
            found = beside.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return ""
        return "" if found == "." else found

    def files(self, revision: Revision) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Manifests by their paths below `revision.path`, sorted, and what was left out, a line each.

        Raises RevisionError when there is no such path.
        """
        nodes = list(self._nodes(revision))
        if not nodes:
            raise RevisionError(f"{revision} holds no files: check the path ({self.root})")
        linked = revision.path and any(node.mode == _LINK for node in nodes)
        everything = self._nodes(Revision(revision.commit, "")) if linked else nodes
        by_path = {node.path: node for node in everything}
        wanted: list[tuple[str, _Node]] = []
        left_out: list[str] = []
        for node in nodes:
            shown = _below(node.path, revision.path)
            single = node.path == revision.path
            if node.mode == _MODULE:
                left_out.append(f"{shown}: a submodule is not read")
            elif not (single or is_manifest_path(shown)):
                continue
            elif node.mode != _LINK:
                wanted.append((shown, node))
            elif (aim := by_path.get(self._aim(node))) is not None and aim.mode.startswith(_BLOB):
                if aim.path not in {one.path for _, one in wanted}:
                    wanted.append((shown, aim))
            else:
                left_out.append(f"{shown}: the link leads to no file of the revision, so it is not read")
        contents = self._contents([node for _, node in wanted])
        return [(shown, contents[node.name]) for shown, node in wanted], left_out

    def _nodes(self, revision: Revision) -> Iterator[_Node]:
        path = ["--", revision.path] if revision.path else []
        listed = _run(self.git, self.root, "ls-tree", "-r", "-l", "-z", "--full-tree", revision.commit, *path)
        for line in listed.split(b"\0"):
            if line:
                facts, _, name = line.partition(b"\t")
                mode, _, blob, size = facts.decode().split()
                yield _Node(mode, blob, 0 if size == "-" else int(size), os.fsdecode(name))

    def _aim(self, node: _Node) -> str:
        target = os.fsdecode(self._contents([node])[node.name])
        return posixpath.normpath(posixpath.join(posixpath.dirname(node.path), target))

    def _contents(self, nodes: Sequence[_Node]) -> dict[str, bytes]:
        """What blobs hold, by their names; of one too large for a manifest as much as shows that."""
        found: dict[str, bytes] = {node.name: b"\n" * (_MAX_BYTES + 1) for node in nodes if node.size > _MAX_BYTES}
        names = list(dict.fromkeys(node.name for node in nodes if node.size <= _MAX_BYTES))
        if not names:
            return found
        asked = "".join(f"{name}\n" for name in names).encode()
        answer = memoryview(_run(self.git, self.root, "cat-file", "--batch", given=asked))
        at = 0
        for name in names:
            end = bytes(answer[at : at + 200]).index(b"\n") + at
            head = bytes(answer[at:end]).split()
            if len(head) != 3:
                raise RevisionError(f"object {name} is not in the repository: fetch it (a partial clone lacks some)")
            size = int(head[2])
            found[name] = bytes(answer[end + 1 : end + 1 + size])
            at = end + 1 + size + 1
        return found


def _below(path: str, folder: str) -> str:
    return path.removeprefix(f"{folder}/") if folder else path


def _run(git: str, folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    """What git writes; raises RevisionError with its first words of complaint."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, a fixed program, and revisions never begin with a dash
            [git, "-c", "core.fsmonitor=false", *arguments],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
            input=given if given is not None else b"",
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RevisionError(f"git cannot be run: {error}") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise RevisionError(words[0] if words else f"git {arguments[0]} failed with {done.returncode}")
    return done.stdout
