"""Programs of the system that the benchmarks need, and what to say when one is missing."""

from __future__ import annotations

import shutil
import sys

from bench.cores import core_count

# Program -> Debian package.
_PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux", "npm": "npm", "node": "nodejs"}


def require_programs(*names: str) -> None:
    """End the run with the names of the Debian packages to install when one of `names` is not on the PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES[name] for name in missing}))
        sys.exit(f"{', '.join(missing)} not found. On Debian: apt-get install {packages}")


def require_two_cores() -> None:
    """End the run on a machine with one core: the gateway and its load must not share one."""
    if core_count() < 2:
        sys.exit("this benchmark needs two cores: one for the gateway under test, one for upstream and load")
