"""The first process of the node's namespaces: hides folders of the machine, runs a command, buries the orphans.

python -m e2e.node.inside COMMAND...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

ROOT_VARIABLE = "TIDEGATE_NODE_ROOT"

# containerd, the kubelet and CNI write below these whatever they are told; here they write into memory.
_HIDDEN = ("/run", "/var/log", "/var/lib", "/opt")


class NotApart(RuntimeError):
    """This process is not the first of a namespace of its own."""


def main(command: list[str]) -> int:
    """Run `command` to its end; returns its exit code. Raises NotApart."""
    if os.getpid() != 1:
        raise NotApart("run the tests by `make e2e`, which gives them namespaces of their own")
    for folder in _HIDDEN:
        if os.path.isdir(folder):
            subprocess.run(["mount", "-t", "tmpfs", "tidegate-e2e", folder], check=True)
    process = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)
    while True:
        # The first process of a namespace inherits every orphan in it.
        pid, status = os.wait()
        if pid == process.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(abs(main(sys.argv[1:])))
