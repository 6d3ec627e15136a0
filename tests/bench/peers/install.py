"""Installs the peers outside the checkout, pinned by version and hash. Nothing of them ever becomes part of Tidegate.

`PYTHONPATH=tests python -m bench.peers.install` installs both. To move a pin, see docs/benchmarks.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
LITELLM_LOCK = HERE / "litellm.lock"
PORTKEY_FOLDER = HERE / "portkey"
# Releases that somebody else than LiteLLM's authors published, with malware in them.
HIJACKED_LITELLM = frozenset({"1.82.7", "1.82.8", "1.107.0"})
_DONE = ".complete"


class UnsafePin(RuntimeError):
    """A lock file names a release that must never be installed."""


def cache_root() -> Path:
    """Outside the checkout: $TIDEGATE_CACHE, else $XDG_CACHE_HOME/tidegate, else ~/.cache/tidegate; then peers/."""
    own, shared = os.environ.get("TIDEGATE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "tidegate"
    return base.expanduser() / "peers"


def litellm_version(lock: str) -> str:
    """The version that the text of a lock file pins; raises UnsafePin unless it is one that may be installed."""
    found = re.findall(r"^litellm==(\S+)", lock, re.MULTILINE)
    if len(found) != 1:
        raise UnsafePin(f"the lock file pins litellm {len(found)} times; it must pin exactly one version")
    if found[0] in HIJACKED_LITELLM:
        raise UnsafePin(f"litellm {found[0]} is a hijacked release: never install it")
    return str(found[0])


def install_litellm() -> Path:
    """The `litellm` program in a virtual environment of its own; installed from the lock, with hashes, when missing."""
    litellm_version(LITELLM_LOCK.read_text())
    # On the interpreter that Tidegate runs on: another build of it could be twice as fast.
    folder = cache_root() / f"litellm-{_digest(LITELLM_LOCK.read_bytes() + sys.base_prefix.encode())}"
    python = folder / "bin" / "python"

    def build() -> None:
        _run([sys.executable, "-m", "venv", folder])
        strict = ["--require-hashes", "--no-deps", "--only-binary=:all:"]
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *strict, "-r", LITELLM_LOCK])

    _once(folder, "LiteLLM (about a minute, 600 MB)", build)
    installed = _output([python, "-c", "from importlib.metadata import version; print(version('litellm'))"])
    litellm_version(f"litellm=={installed}\n")
    return folder / "bin" / "litellm"


def install_portkey() -> Path:
    """The start script of Portkey's gateway; installed from package-lock.json (integrity hashes) when missing.

    Install scripts of packages do not run.
    """
    lock = PORTKEY_FOLDER / "package-lock.json"
    folder = cache_root() / f"portkey-{_digest(lock.read_bytes())}"

    def build() -> None:
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PORTKEY_FOLDER / name, folder / name)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)

    _once(folder, "Portkey's gateway (seconds, 25 MB)", build)
    return folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _once(folder: Path, what: str, build: Callable[[], None]) -> None:
    """Build `folder` unless an earlier run completed it; a half-made one is made anew."""
    if (folder / _DONE).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"installing {what} into {folder}", file=sys.stderr, flush=True)
    build()
    (folder / _DONE).touch()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _run(command: list[str | Path], cwd: Path | None = None) -> None:
    try:
        subprocess.run([str(part) for part in command], check=True, cwd=cwd)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{command[0]} ended with {error.returncode}; is the package registry reachable? Run it again.")


def _output(command: list[str | Path]) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    print(install_litellm())
    print(install_portkey())
