"""How far a cluster is behind a branch: asks the git of the working directory, once for each commit."""

import subprocess
from collections.abc import Mapping, Sequence

from tidegate_operator.fleet.cluster import ClusterView
from tidegate_operator.fleet.compare import commits_of

_SECONDS = 10


class NoSuchRef(Exception):
    """The branch, tag or commit is not known to git here; the message says what git said."""


def head_of(ref: str) -> str:
    """The commit that `ref` names. Raises NoSuchRef."""
    answer = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if answer is None:
        raise NoSuchRef(f"git knows no {ref!r} here; run this inside the repository, after git fetch")
    return answer


def lags(views: Sequence[ClusterView], head: str) -> Mapping[str, int | None]:
    """For each cluster by how many commits its oldest commit is behind `head`; None where git cannot tell."""
    known: dict[str, int | None] = {}
    for commit in {commit for view in views for commit in _each(view)}:
        answer = _git("rev-list", "--count", "--end-of-options", f"{commit}..{head}")
        known[commit] = int(answer) if answer is not None and answer.isdecimal() else None
    return {view.name: _most([known[each] for each in _each(view)]) for view in views}


def _each(view: ClusterView) -> list[str]:
    """An Application of several sources has several commits."""
    return [commit for joined in commits_of(view) for commit in joined.split("+")]


def _most(behind: Sequence[int | None]) -> int | None:
    counted = [number for number in behind if number is not None]
    return max(counted) if counted and len(counted) == len(behind) else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603, S607 - the user's own git, and every commit stands behind --end-of-options
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
