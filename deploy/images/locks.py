"""Which pinned distributions each image holds: requirements/{dataplane,operator,build}.lock, cut out of dev.lock.

    python deploy/images/locks.py [--check]

Run it in the project's environment: what needs what is read from the metadata that is installed there. The hashes are
those of dev.lock, so images hold what the tests ran with. The markers are decided here for the Python of the images.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"

# Debian 12's. The full version matters: below 3.11.3, redis needs async-timeout.
_PYTHON = {"python_version": "3.11", "python_full_version": "3.11.2"}

# Roots of each image. `build` is what makes Tidegate's own wheel.
_ROOTS = {"dataplane": "tidegate[dataplane]", "operator": "tidegate[operator]", "build": "hatchling"}

# Expressions are evaluated in Rust; all that this distribution asks for serves its command line, which no image has.
_NOT_FOLLOWED = {"dataplane": frozenset({"common-expression-language"})}

_HEADER = "# Made by deploy/images/locks.py from dev.lock: what the image `{name}` holds.\n"


def render(name: str, pinned: dict[str, str]) -> str:
    """The text of one lock. Raises KeyError for what dev.lock does not pin."""
    names = sorted(_closure(Requirement(_ROOTS[name]), _NOT_FOLLOWED.get(name, frozenset())) - {"tidegate"})
    return _HEADER.format(name=name) + "".join(pinned[each] for each in names)


def read_pins(text: str) -> dict[str, str]:
    """Name to its block of a pip-compile lock file (`name==version` and its hashes), the marker left out."""
    blocks = re.findall(r"^[a-z0-9].*\\\n(?:    --hash=.*\n)+", text, re.MULTILINE)
    return {block.split("==")[0]: re.sub(r" ;[^\\\n]*", " ", block, count=1) for block in blocks}


def _closure(root: Requirement, not_followed: Iterable[str]) -> set[str]:
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(_normal(root.name), frozenset(root.extras))]
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        if found[0] not in not_followed:
            waiting.extend(_needs(*found))
    return {name for name, _ in seen}


def _needs(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    # What only the older Python of the images needs is not installed here; it needs nothing itself.
    if name == "async-timeout":
        return
    for text in distribution(name).requires or ():
        need = Requirement(text)
        wanted = (need.marker is None) or any(
            need.marker.evaluate({**_PYTHON, "extra": extra}) for extra in extras or {""}
        )
        if wanted:
            yield _normal(need.name), frozenset(need.extras)


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str]) -> int:
    """Write the locks, or with --check say which are not up to date; returns the exit code."""
    pinned = read_pins((LOCKS / "dev.lock").read_text())
    stale = []
    for name in _ROOTS:
        path, text = LOCKS / f"{name}.lock", render(name, pinned)
        if arguments == ["--check"]:
            stale += [path.name] * (not path.exists() or path.read_text() != text)
        else:
            path.write_text(text)
    if stale:
        print(f"requirements/{', '.join(stale)} out of date: run python deploy/images/locks.py", file=sys.stderr)
    return len(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
