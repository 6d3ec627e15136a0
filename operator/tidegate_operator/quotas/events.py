"""Kubernetes Events on Quotas: a threshold was crossed, the shared store went away or came back.

The name of an Event follows from what it tells, so that it is created once whoever sees it and however often: that it
exists already (409) is as good as creating it. How many there are is bounded, for each quota and in all.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.conditions import Held
from tidegate_operator.kube import API_FAILURES, EVENTS, FIELD_MANAGER, Api, ApiError
from tidegate_operator.quotas.amounts import shown_amount
from tidegate_operator.quotas.pages import AlertPage
from tidegate_operator.resources import RESOURCES
from tidegate_operator.world import ObjectKey

_log = logging.getLogger(__name__)

# An alert that is older than an Event lives (kube-apiserver's --event-ttl is an hour unless told otherwise) is history.
MAX_AGE_SECONDS = 3600
QUEUED = 1_000
KNOWN = 20_000
# As Kubernetes' own clients: a burst for one object, then one a minute.
BURST = 25
REFILL_SECONDS = 60.0
PAUSE_SECONDS = 0.02
RETRY_SECONDS = (0.5, 1, 2, 5, 10)
_MAX_NAME = 200
_MAX_MESSAGE = 1_024
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class _Event:
    key: ObjectKey
    name: str
    type: str
    reason: str
    message: str
    at: int


class QuotaEvents:
    """Creates Events in turn. `uid_of` tells the uid of a quota that is watched here, "" for any other."""

    def __init__(self, api: Api, *, uid_of: Callable[[ObjectKey], str], now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._uid_of = uid_of
        self._now = now
        self._queue: deque[_Event] = deque()
        self._known: dict[str, None] = {}
        self._budgets: dict[ObjectKey, tuple[float, float]] = {}
        self._wakeup = asyncio.Event()
        self._refused = ""
        self.created = 0
        self.left_out = 0

    def threshold(self, key: ObjectKey, alert: AlertPage) -> None:
        """A threshold was crossed."""
        if self._now() - alert.at > MAX_AGE_SECONDS:
            return
        who = f" by {alert.scope}" if alert.scope else ""
        used, amount = shown_amount(alert.used, alert.unit), shown_amount(alert.amount, alert.unit)
        message = f"{alert.threshold} % of {alert.limit} used{who}: {used} of {amount}"
        if alert.window_end:
            message += f", until {format_timestamp(alert.window_end)}"
        self._add(key, alert.id[:20], "Warning", "QuotaThresholdCrossed", message, alert.at)

    def store(self, key: ObjectKey, *, lost: bool, detail: str, since: int) -> None:
        """The data planes lost the shared store, `since` that second, or reach it again."""
        at = int(self._now())
        identity = blake2b(f"{key} {lost} {since or at}".encode(), digest_size=10).hexdigest()
        if lost:
            message = f"The shared store cannot be reached, failureMode holds. {detail}"
            self._add(key, identity, "Warning", "QuotaStoreUnavailable", message, at)
        else:
            message = "The data planes reach the shared store again; what was used meanwhile is added up."
            self._add(key, identity, "Normal", "QuotaStoreRecovered", message, at)

    def held(self, key: ObjectKey, held: Held) -> None:
        """What an object declares, of whatever kind, is held back."""
        at = int(self._now())
        identity = blake2b(f"{key} {held.reason} {held.message} {at}".encode(), digest_size=10).hexdigest()
        self._add(key, identity, "Warning", held.reason.value, held.message, at)

    async def run(self) -> None:
        """Create until cancelled."""
        while True:
            while not self._queue:
                self._wakeup.clear()
                await self._wakeup.wait()
            await self._create(self._queue.popleft())
            await asyncio.sleep(PAUSE_SECONDS)

    def _add(self, key: ObjectKey, identity: str, type: str, reason: str, message: str, at: int) -> None:
        name = f"{key.name[:_MAX_NAME].rstrip('.-')}.{identity}"
        known = f"{key.namespace}/{name}"
        if known in self._known:
            return
        if not self._uid_of(key):
            return
        if len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]
        self._known[known] = None
        if len(self._queue) >= QUEUED or not self._within_budget(key):
            self.left_out += 1
            _log.info("no Event for %s, which has many already: %s", key, message)
            return
        text = _LINE_BREAKS.sub(" ", message)[:_MAX_MESSAGE]
        self._queue.append(_Event(key, name, type, reason, text, at))
        self._wakeup.set()

    def _within_budget(self, key: ObjectKey) -> bool:
        now = self._now()
        left, at = self._budgets.get(key, (float(BURST), now))
        left = min(float(BURST), left + max(0.0, now - at) / REFILL_SECONDS)
        if len(self._budgets) >= KNOWN:
            self._budgets.clear()
        self._budgets[key] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    async def _create(self, event: _Event) -> None:
        uid = self._uid_of(event.key)
        if not uid:
            return
        for pause in (*RETRY_SECONDS, None):
            try:
                await self._api.create(EVENTS.path(event.key.namespace), _body(event, uid))
                self.created += 1
                return
            except ApiError as error:
                if error.conflict or error.missing:
                    return
                if error.status in (400, 403, 422):
                    self._say_once(error)
                    return
                failure: Exception = error
            except API_FAILURES as error:
                failure = error
            if pause is None:
                _log.warning("an Event on %s could not be created: %s", event.key, failure)
                return
            await asyncio.sleep(pause)

    def _say_once(self, error: ApiError) -> None:
        if str(error) != self._refused:
            self._refused = str(error)
            _log.warning("Events on quotas are refused (charts/tidegate/rbac/operator.yaml has the right): %s", error)


def _body(event: _Event, uid: str) -> dict[str, Any]:
    """A core/v1 Event, which kubectl describe, kubectl get events and Argo CD all show."""
    kind = RESOURCES[event.key.kind]
    when = format_timestamp(event.at)
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": event.name, "namespace": event.key.namespace},
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "namespace": event.key.namespace,
            "name": event.key.name,
            "uid": uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": when,
        "lastTimestamp": when,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": f"tidegate.dev/{FIELD_MANAGER}",
        "reportingInstance": FIELD_MANAGER,
    }
