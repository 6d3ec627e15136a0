"""One line in the log for each alert, but not ten thousand for one quota that everybody uses up together."""

import logging
from collections.abc import Callable
from typing import Final

from tidegate_dataplane.alerts.alert import Alert

LINES_PER_MINUTE: Final = 20
_MINUTE: Final = 60.0
_MAX_QUOTAS: Final = 10_000


class Lines:
    """Writes at most LINES_PER_MINUTE for each quota, and says how many it left out."""

    def __init__(self, log: logging.Logger, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._minutes: dict[str, tuple[float, int]] = {}

    def write(self, alert: Alert) -> None:
        now = self._now()
        began, count = self._minutes.get(alert.quota, (now, 0))
        if not 0 <= now - began < _MINUTE:
            if count > LINES_PER_MINUTE:
                self._log.warning(
                    "Quota %s: %d more alerts, see /-/quotas and the metric", alert.quota, count - LINES_PER_MINUTE
                )
            began, count = now, 0
        if len(self._minutes) >= _MAX_QUOTAS:
            self._minutes.clear()
        self._minutes[alert.quota] = (began, count + 1)
        if count < LINES_PER_MINUTE:
            self._log.warning("%s", alert)
