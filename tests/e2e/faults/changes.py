"""One change a second, and how long each took to be obeyed: what a caller of every data plane sees during a fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType
from typing import Self

from cluster.harness.callers import ask
from cluster.harness.objects import Manifest, mock_backend, route
from cluster.harness.published import read_published
from cluster.harness.rest import ApiError
from cluster.harness.system import System

TEAM = "team-a"
KEY = "key-of-a-caller-during-faults"


def change(number: int) -> list[Manifest]:
    """Change `number`: a route of its own, which stays, and an answer that the next change replaces."""
    return [
        route(TEAM, f"change-{number}", models=[f"change-{number}"]),
        mock_backend(TEAM, reply=f"Change {number}."),
    ]


@dataclass
class Changes:
    """Applies a change a second while it is entered, and asks every data plane all the time.

    `obeyed` has for each change the seconds until every data plane answered with it or a later one. `torn` and
    `failures` must stay empty: snapshots that nobody could load, and answers other than 200.
    """

    system: System
    every: float = 1.0
    applied: dict[int, float] = field(default_factory=dict)
    obeyed: dict[int, float] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    patient: bool = False
    """Whether the API server may be away at times: then a change is applied again until it is taken."""

    def __post_init__(self) -> None:
        self._enough, self._stop = threading.Event(), threading.Event()
        steps = ((self._change, self._enough), (self._ask, self._stop), (self._look, self._stop))
        self._threads = [threading.Thread(target=self._repeat, args=step, daemon=True) for step in steps]

    @property
    def gap(self) -> float:
        """The longest time that a change took."""
        return max(self.obeyed.values(), default=0.0)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last change is waited for."""
        self._enough.set()
        self._threads[0].join()
        try:
            if error is None:
                self.wait_until_obeyed(deadline=60)
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def wait(self, changes: int) -> None:
        """Wait until that many more changes have been applied."""
        goal = len(self.applied) + changes
        give_up = time.monotonic() + 60 + 3 * changes
        while len(self.applied) < goal:
            assert time.monotonic() < give_up, f"no change could be applied: {self.failures[-3:]}"
            time.sleep(0.05)

    def wait_until_obeyed(self, *, deadline: float = 30.0) -> None:
        """Wait until every data plane obeys the change that is the last one now."""
        give_up, last = time.monotonic() + deadline, len(self.applied)
        while last not in self.obeyed:
            assert time.monotonic() < give_up, f"applied {last}, obeyed {max(self.obeyed, default=0)}: {self.failures}"
            time.sleep(0.05)

    def _repeat(self, step: Callable[[], None], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                step()
            except (OSError, HTTPException, ApiError) as error:
                if not self.patient:
                    self.failures.append(str(error))
                stop.wait(0.1)
            except AssertionError as error:
                self.torn.append(str(error))

    def _change(self) -> None:
        number = len(self.applied) + 1
        self.system.apply(*change(number))
        self.applied[number] = time.monotonic()
        self._enough.wait(self.every)

    def _ask(self) -> None:
        """Both data planes must have a change, or a later one, for it to count."""
        seen = []
        for plane in self.system.planes:
            reply = ask(plane.url, key=KEY)
            if reply.status != 200:
                self.failures.append(f"{reply.status} {reply.body[:200]!r}")
                return
            seen.append(int(reply.text.split()[1].rstrip(".")))
        now, lowest = time.monotonic(), min(seen)
        for number in range(1, lowest + 1):
            if number in self.applied:
                self.obeyed.setdefault(number, max(0.0, now - self.applied[number]))
        self._stop.wait(0.02)

    def _look(self) -> None:
        published = read_published(self.system.admin)
        if published is not None:
            self.revisions.append(published.revision)
        self._stop.wait(0.05)
