"""`tidegate` with a wall clock that a test moves: python moved_clock.py SECONDS_FILE operator ...

Only what tells the time of day is moved; the monotonic clock goes on, as it does when NTP sets a machine's clock.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

_real_time = time.time


def _offset() -> float:
    try:
        return float(_FILE.read_text())
    except (OSError, ValueError):
        return 0.0


class Moved(datetime):
    """A datetime whose now is elsewhere."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(seconds=_offset())


if __name__ == "__main__":
    _FILE = Path(sys.argv.pop(1))
    from tidegate_operator import cli, leadership, run

    time.time = lambda: _real_time() + _offset()
    for module in (leadership, run):
        vars(module)["datetime"] = Moved
    sys.argv[0] = "tidegate"
    cli.main()
