"""SIGKILL of the operator while everything changes, as callers and running data planes see it.

Five kills here; `make chaos` does fifty (TIDEGATE_KILLS). What is published then: operator/test_killed_mid_publish.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from cluster.harness.callers import ask, status_of
from cluster.harness.gateway import DataPlane
from cluster.harness.objects import Manifest, collection_of, path_of, route, tenant
from cluster.harness.processes import wait_until
from cluster.harness.system import System

pytestmark = pytest.mark.kills

KILLS = int(os.environ.get("TIDEGATE_KILLS", "5"))
ROUTES = 450
"""Enough for several shards, so that a publication takes several writes."""

EDITED = 24
TEAM = "team-a"
KEY = "key-of-a-caller-during-kills"
MOST_SECONDS = 0.5
"""From a publication that is seen to the kill: edits go on, so that a next one is likely under way."""


@pytest.mark.timeout(120 + 12 * KILLS)
def test_callers_and_running_data_planes_notice_nothing(own_system: System) -> None:
    """Every call is served; no data plane goes back or refuses; all come to the last edit."""
    system, chance = own_system, random.Random()
    system.server.ensure_namespace(TEAM)
    objects = [*tenant(TEAM, KEY), *(_route(number, edit=0) for number in range(ROUTES))]
    system.admin.create_many([(collection_of(item), item) for item in objects])
    system.wait_for_status(200, key=KEY, model=_model(ROUTES - 1, edit=0))
    observers = [_Observer(plane) for plane in system.planes]
    editor = _Editor(system)
    with contextlib.ExitStack() as running:
        for observer in observers:
            running.enter_context(_repeating(observer.look))
        running.enter_context(_repeating(editor.edit))
        for _ in range(KILLS):
            _wait_for_next_revision(system)
            time.sleep(chance.uniform(0, MOST_SECONDS))
            system.operator.kill9()
            system.start_operator()
    for observer in observers:
        assert observer.problems == []
        assert observer.looks > KILLS
        assert observer.revisions == sorted(observer.revisions)
        assert len(set(observer.revisions)) > KILLS, "hardly anything was published while kills went on"
    for number in range(EDITED):
        system.wait_for_status(200, key=KEY, model=_model(number, edit=editor.edits))


@dataclass
class _Observer:
    """Calls one data plane and reads its status."""

    plane: DataPlane
    problems: list[object] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    looks: int = 0

    def look(self) -> None:
        self.looks += 1
        reply = ask(self.plane.url, key=KEY)
        if reply.status != 200:
            self.problems.append((reply.status, reply.body))
        status = status_of(self.plane.admin_url)
        self.revisions.append(status["revision"])
        if status["lastRefusal"] is not None:
            self.problems.append(status["lastRefusal"])
        time.sleep(0.02)


@dataclass
class _Editor:
    """Renames the models of some routes, in every shard, again and again."""

    system: System
    edits: int = 0

    def edit(self) -> None:
        self.edits += 1
        for number in range(EDITED):
            item = _route(number, edit=self.edits)
            self.system.admin.apply(path_of(item), item)
        time.sleep(0.06)


def _route(number: int, *, edit: int) -> Manifest:
    return route(TEAM, f"chat-{number}", models=[_model(number, edit=edit)])


def _model(number: int, *, edit: int) -> str:
    return f"model-{number}-{edit}"


def _wait_for_next_revision(system: System) -> None:
    before = system.published().revision
    wait_until(
        lambda: system.published().revision > before,
        what="the operator to publish",
        deadline=60,
        process=system.operator,
    )


@contextlib.contextmanager
def _repeating(step: Callable[[], None]) -> Iterator[None]:
    """Call `step` in a thread until the end; what it raises is raised at the end."""
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        while not stop.is_set() and not errors:
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - handed to the test
                errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]
