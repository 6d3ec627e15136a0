"""Installs the chart on a genuine node of this machine and tests it there: `make e2e`.

python -m e2e.node [PYTEST ARGUMENTS...]
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.build_tools import BuildFailed, ensure_helm, ensure_node, ensure_tools
from e2e.node.images import ImagesMissing, ensure_images
from e2e.node.namespaces import Refused, check_machine, run_apart

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str]) -> int:
    """Build what is missing, run the tests apart; returns the exit code."""
    began = time.time()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # whoever ends this has the machine put back, as by Ctrl-C
    try:
        check_machine()
        for ensure in (ensure_tools, ensure_node, ensure_helm):
            ensure(_say)
        tools = time.time()
        images = ensure_images()
        done = time.time()
        _say(f"tools {tools - began:.1f} s, images {done - tools:.1f} s")
        environment = {"TIDEGATE_E2E_BEGAN": str(began), "TIDEGATE_E2E_IMAGES": str(images)}
        pytest = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *(arguments or [str(HERE)])]
        return run_apart(pytest, environment=environment)
    except (BuildFailed, ImagesMissing, Refused) as error:
        _say(f"error: {error}")
        return 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
