"""What data planes report, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from cluster.operator.plane_double import PlaneDouble
from tidegate_operator.conditions import PlaneReport
from tidegate_operator.planes import EndpointSlice, Planes


@pytest.fixture
def plane() -> Iterator[PlaneDouble]:
    with PlaneDouble(revision=1) as double:
        yield double


@asynccontextmanager
async def _asking(*urls: str, target: int = 1) -> AsyncIterator[Planes]:
    planes = Planes(urls, target=lambda: target, on_change=lambda: None)
    await planes.start()
    try:
        yield planes
    finally:
        await planes.stop()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen within five seconds")


async def test_a_new_revision_is_known_at_once(plane: PlaneDouble) -> None:
    async with _asking(plane.url) as planes:
        await planes.first_answers(5)
        name = plane.url.removeprefix("http://")
        assert planes.reports() == (PlaneReport(name, ready=True, revision=1),)
        plane.runs(2)
        await _until(lambda: planes.highest_revision == 2)


async def test_a_refusal_is_known_at_once_until_it_is_history(plane: PlaneDouble) -> None:
    async with _asking(plane.url, target=2) as planes:
        await planes.first_answers(5)
        plane.refuses(2, "no room")
        await _until(lambda: planes.reports()[0].refusal == "BuildFailed: no room")
        plane.runs(3)
        await _until(lambda: planes.reports()[0] == PlaneReport(planes.reports()[0].name, ready=True, revision=3))


async def test_who_does_not_answer_is_not_known() -> None:
    with PlaneDouble(revision=1) as double:
        async with _asking(double.url, "http://127.0.0.1:1") as planes:
            await planes.first_answers(5)
            assert [report.revision for report in planes.reports()] == [1]


async def test_endpoint_slices_say_who_is_asked(plane: PlaneDouble) -> None:
    port = int(plane.url.rpartition(":")[2])
    async with _asking() as planes:
        planes.see_slice(_slice("a", ["127.0.0.1"], port))
        await _until(lambda: len(planes.reports()) == 1)
        planes.forget_slice("a")
        assert planes.reports() == ()


def test_only_ready_endpoints_of_the_admin_port_count() -> None:
    assert _slice("a", ["10.0.0.1"], 9090).urls() == {"http://10.0.0.1:9090"}
    assert _slice("a", ["fd00::1"], 9090).urls() == {"http://[fd00::1]:9090"}
    assert _slice("a", ["10.0.0.1"], 9090, ready=False).urls() == set()
    assert _slice("a", ["10.0.0.1"], 9090, port_name="http").urls() == set()


def _slice(
    name: str, addresses: list[str], port: int, *, ready: bool = True, port_name: str = "admin"
) -> EndpointSlice:
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "endpoints": [{"addresses": addresses, "conditions": {"ready": ready}}],
            "ports": [{"name": port_name, "port": port}],
        },
        EndpointSlice,
    )
