"""Which statuses are written, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegate_operator.compile.compiled import Compiled, Served
from tidegate_operator.conditions import PlaneReport
from tidegate_operator.ingest import CustomObject, seen_object
from tidegate_operator.kube import ApiError
from tidegate_operator.resources import RESOURCES
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.verdicts import Finding, Reason, Verdict
from tidegate_operator.world import Kind, ObjectKey

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _key(name: str) -> ObjectKey:
    return ObjectKey(Kind.ROUTE, "team", name)


def _object(name: str) -> str:
    return RESOURCES[Kind.ROUTE].path("team", name)


def _path(name: str) -> str:
    return f"{_object(name)}/status"


class Bench:
    """A writer over a store and an API server in memory; the test says what data planes report."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.store = Store()
        self.reports: tuple[PlaneReport, ...] = ()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.changes = 0
        self.writer = StatusWriter(
            api,
            self.store,
            planes=lambda: self.reports,
            uses=lambda _: {},
            now=lambda: NOW,
            may_write=self.may_write,
            on_change=self._changed,
        )

    def declare(self, name: str, generation: int = 1, *, uid: str | None = None, seen: bool = True) -> None:
        """An author's edit, which the watch delivers unless it is not `seen` yet."""
        known = self.api.objects.get(_object(name), {})
        meta = {"name": name, "namespace": "team", "uid": uid or f"uid-{name}", "generation": generation}
        item = self.api._store(_object(name), {**known, "metadata": meta, "spec": {}})
        if seen:
            self.store.see(seen_object(Kind.ROUTE, msgspec.convert(item, CustomObject)))

    def _changed(self) -> None:
        self.changes += 1

    def publish(self, revision: int, *verdicts: Verdict) -> None:
        compiled = Compiled((), {verdict.key: verdict for verdict in verdicts}, {}, Served({}))
        self.writer.published(compiled, self.store.world().resources, revision)

    def planes(self, *reports: PlaneReport) -> None:
        self.reports = reports
        self.writer.planes_changed()

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Status and message in the API server."""
        conditions = self.api.objects[_object(name)]["status"]["conditions"]
        return next((c["status"], c["message"]) for c in conditions if c["type"] == kind)


@asynccontextmanager
async def _running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.writer.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen within five seconds")


def _good(name: str, generation: int = 1) -> Verdict:
    return Verdict(_key(name), generation, generation)


def _bad(name: str, generation: int = 1) -> Verdict:
    return Verdict(_key(name), generation, None, errors=(Finding(Reason.INVALID, "spec", "is wrong"),))


def _plane(revision: int) -> PlaneReport:
    return PlaneReport("a:9090", ready=True, revision=revision)


async def test_one_status_for_an_object_whose_data_planes_follow_at_once(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.planes(_plane(0))
    async with _running(bench):
        bench.publish(1, _good("chat"))
        await asyncio.sleep(0)
        bench.planes(_plane(1))
        await _until(lambda: "status" in api.objects[_object("chat")])
    assert bench.condition("chat", "Ready") == ("True", "revision 1 on 1/1")
    assert api.log == [f"PATCH {_path('chat')}"]


async def test_an_invalid_object_hears_of_it_before_any_data_plane_follows(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.declare("other")
    bench.planes(_plane(0))
    async with _running(bench):
        bench.publish(1, _bad("chat"), _good("other"))
        await _until(lambda: "status" in api.objects[_object("chat")])
    assert bench.condition("chat", "Accepted") == ("False", "spec: is wrong")
    assert "status" not in api.objects[_object("other")]


async def test_later_revisions_and_data_planes_rewrite_nothing(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.declare("other")
    bench.planes(_plane(1))
    async with _running(bench):
        bench.publish(1, _good("chat"), _good("other"))
        await _until(lambda: len(api.log) == 2)
        bench.declare("other", 2)
        bench.publish(2, _good("chat"), _good("other", 2))
        bench.planes(_plane(2), PlaneReport("b:9090", ready=True, revision=2))
        await _until(lambda: len(api.log) == 3)
        assert api.log[2] == f"PATCH {_path('other')}"
        bench.writer.audit()
        await _until(lambda: bench.writer.pending == 0)
    assert len(api.log) == 3
    assert bench.condition("chat", "Programmed") == ("True", "revision 1 on 1/1")
    assert bench.condition("other", "Programmed") == ("True", "revision 2 on 2/2")


async def test_a_restarted_operator_keeps_what_is_still_true(api: Any) -> None:
    first = Bench(api)
    first.declare("chat")
    first.planes(_plane(1))
    async with _running(first):
        first.publish(1, _good("chat"))
        await _until(lambda: "status" in api.objects[_object("chat")])
    second = Bench(api)
    second.declare("chat")
    second.planes(_plane(8))
    async with _running(second):
        second.publish(8, _good("chat"))
        await _until(lambda: second.writer.pending == 0)
        # A data plane that lags behind the newest revision does have what was programmed in revision 1.
        second.planes(_plane(7))
        await _until(lambda: second.writer.pending == 0)
    assert len(api.log) == 1


async def test_a_data_plane_that_falls_back_takes_the_promise_back(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.planes(_plane(5))
    async with _running(bench):
        bench.publish(5, _good("chat"))
        await _until(lambda: "status" in api.objects[_object("chat")])
        bench.planes(_plane(4))
        await _until(lambda: len(api.log) == 2)
    assert bench.condition("chat", "Programmed") == ("False", "revision 5 on 0/1: waiting for a:9090")


async def test_nothing_is_written_while_a_snapshot_is_published(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.may_write.clear()
    async with _running(bench):
        bench.publish(1, _bad("chat"))
        await asyncio.sleep(0.1)
        assert api.log == []
        bench.may_write.set()
        await _until(lambda: len(api.log) == 1)


async def test_an_object_that_is_gone_or_newer_is_left_to_the_next_publication(api: Any) -> None:
    bench = Bench(api)
    bench.declare("newer", 2)
    async with _running(bench):
        bench.publish(1, _bad("newer"), _bad("gone"))
        bench.declare("last")
        bench.publish(1, _bad("newer"), _bad("gone"), _bad("last"))
        await _until(lambda: "status" in api.objects[_object("last")])
    assert api.log == [f"PATCH {_path('last')}"]


async def test_a_failed_write_is_tried_again(api: Any) -> None:
    bench = Bench(api)
    bench.declare("busy")
    failures = {_path("busy"): ApiError(503, "Busy", "later")}
    api.fail = lambda method, path: failures.pop(path, None)
    async with _running(bench):
        bench.publish(1, _bad("busy"))
        await _until(lambda: "status" in api.objects[_object("busy")])
    assert api.log.count(f"PATCH {_path('busy')}") == 2


async def test_a_status_never_lands_on_a_successor_of_the_same_name(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat", uid="first")
    bench.declare("other")
    bench.declare("chat", uid="second", seen=False)
    async with _running(bench):
        bench.publish(1, _bad("chat"), _bad("other"))
        await _until(lambda: len(api.log) == 2 and bench.writer.pending == 0)
    assert "status" not in api.objects[_object("chat")]


async def test_a_successor_of_the_same_name_hears_what_was_judged_of_itself_and_only_that(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat", uid="first")
    async with _running(bench):
        bench.publish(1, _bad("chat"))
        await _until(lambda: "status" in api.objects[_object("chat")])
        del api.objects[_object("chat")]
        bench.declare("chat", uid="second")
        bench.writer.touched(ObjectKey(Kind.ROUTE, "team", "chat"))
        await _until(lambda: bench.writer.pending == 0)
        assert "status" not in api.objects[_object("chat")]
        bench.publish(1, _bad("chat"))
        await _until(lambda: "status" in api.objects[_object("chat")])


async def test_an_edit_that_only_the_answer_to_a_status_shows_is_not_lost(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    bench.declare("chat", 2, seen=False)
    async with _running(bench):
        bench.publish(1, _bad("chat"))
        await _until(lambda: bench.changes == 1)
    resource = bench.store.resource(_key("chat"))
    assert resource is not None
    assert resource.generation == 2


async def test_a_status_that_somebody_changed_is_put_right(api: Any) -> None:
    bench = Bench(api)
    bench.declare("chat")
    async with _running(bench):
        bench.publish(1, _bad("chat"))
        await _until(lambda: len(api.log) == 1)
        api.edit(_object("chat"), lambda item: item["status"].update(observedGeneration=99))
        bench.declare("chat")
        bench.writer.touched(_key("chat"))
        await _until(lambda: bench.store.status(_key("chat")).observed_generation == 1)
    assert bench.condition("chat", "Accepted") == ("False", "spec: is wrong")
