"""kill -9 of the operator while it publishes: whoever starts at any moment finds one whole snapshot.

Ten kills here; `make chaos` does fifty (TIDEGATE_KILLS).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

import pytest

from cluster.harness.processes import wait_until
from cluster.operator.conftest import TEAM
from cluster.operator.declared import BACKEND, POLICY, route
from cluster.operator.installation import CONFIG_MAPS, INDEX, Installation
from tidegate_dataplane.snapshot.bundle import shard_key

pytestmark = pytest.mark.kills

KILLS = int(os.environ.get("TIDEGATE_KILLS", "10"))
# Enough for four shards, so that a publication has several writes to die between.
ROUTES = 450
SHARDS = 4
EDITED = 24
SEED = 20260101


class _Background:
    """A loop in a thread; what it raises is raised again when the test ends it."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.steps = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def healthy(self) -> bool:
        return self._error is None

    def _run(self) -> None:
        while not self._stop.is_set() and self._error is None:
            try:
                self._step()
                self.steps += 1
            except BaseException as error:  # noqa: BLE001 - handed to the test
                self._error = error


class _Editor:
    """Edits a few objects of every shard at once, then lets the operator publish."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._random = random.Random(SEED)

    def step(self) -> None:
        seconds = self._random.randrange(1, 600)
        for number in range(EDITED):
            self._installation.edit("AIRoute", TEAM, f"route-{number}", {"timeout": f"{seconds}s"})
        time.sleep(0.06)


@pytest.mark.timeout(120 + 12 * KILLS)
def test_killed_at_random_points_while_edits_go_on(installation: Installation) -> None:
    installation.create("AIBackend", TEAM, "mock", BACKEND)
    installation.create("AIPolicy", TEAM, "house", POLICY)
    for number in range(ROUTES):
        installation.create("AIRoute", TEAM, f"route-{number}", route(f"model-{number}"))
    chance = random.Random(SEED)
    # The same identity: as a container that restarts in its Pod, it need not wait for its own Lease.
    flags = ["--identity", "the-operator"]
    operator = installation.operator(more=flags)
    installation.wait_for_revision(1, process=operator)
    assert len(installation.load().shards) == SHARDS

    between = 0
    revision = installation.revision()
    with _Background(installation.load) as reader:
        # Where in a publication a kill strikes is chance: go on, up to a bound, until one has struck between the shards
        # and the index.
        for kill in range(KILLS * 3):
            if kill >= KILLS and between:
                break
            with _Background(_Editor(installation).step) as editor:
                before = installation.outputs()
                wait_until(
                    lambda before=before: _a_shard_differs(installation, before),  # type: ignore[misc]
                    what="a publication to begin",
                    deadline=30.0,
                    process=operator,
                )
                time.sleep(chance.uniform(0, 0.015) if kill < KILLS else 0)
                operator.kill9()
                assert editor.healthy
            # At rest and without an operator: this is what every data plane that starts now is left with.
            snapshot = installation.load()
            assert snapshot.index.revision >= revision
            assert len(snapshot.shards) == SHARDS
            between += _holds_unpublished(installation)
            revision = snapshot.index.revision
            operator = installation.operator(name=f"operator-{kill}", more=flags)
            operator.wait_for_log("read back revision")
            assert "damaged" not in operator.log_text()
            assert reader.healthy
        # Whatever was half written, the last operator brings to its end.
        generation = installation.edit("AIRoute", TEAM, "route-0", {"timeout": "601s"})
        wait_until(
            lambda: installation.load().route(f"{TEAM}/route-0").source.generation == generation,
            what="the last edit to be published",
            deadline=30.0,
            process=operator,
        )
    assert reader.steps > KILLS
    # The test would prove little if no kill had ever struck between the first shard and the index.
    assert between > 0


def _a_shard_differs(installation: Installation, before: dict[str, str]) -> bool:
    now = installation.outputs()
    return any(version != before.get(name) for name, version in now.items() if name != INDEX)


def _holds_unpublished(installation: Installation) -> bool:
    """Whether some shard's newest version is one that the index does not name."""
    index = installation.index()
    assert index is not None
    for ref in index.shards:
        config_map = installation.rest.get(f"{CONFIG_MAPS}/{INDEX}-{ref.name}")
        written_for = int(config_map["metadata"]["annotations"]["tidegate.dev/revision"])
        if written_for > index.revision and set(config_map["binaryData"]) - {shard_key(ref.name, ref.sha256)}:
            return True
    return False
