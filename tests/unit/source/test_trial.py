"""Which of two indexes a data plane takes, whatever comes first, and that it never goes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.api_server import FakeApi, fake_api
from dataplane.factory import bundle_of, mock_backend, route, shard
from dataplane.waiting import until
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.settings import ApiAccess
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, PLANES_KEY, shard_key
from tidegate_dataplane.snapshot.codec import digest
from tidegate_dataplane.source.api_client import ApiClient
from tidegate_dataplane.source.kubernetes import KubernetesSource
from tidegate_dataplane.upstream import UpstreamClient

INDEX = ("configmaps", "tidegate-default")
CANARY = ("configmaps", "tidegate-default-canary")
ME = "pod-1:9090"


class Plane:
    """A source of the instance `name`, and what it delivered."""

    def __init__(self, api: FakeApi, name: str) -> None:
        self.reloader = Reloader("default")
        self.client = UpstreamClient()
        self.trials: list[int] = []
        self.source = KubernetesSource(
            ApiClient(ApiAccess(url=api.url, token="t"), self.client),
            gateway="default",
            namespace="system",
            reloader=self.reloader,
            credentials=Credentials(),
            instance=lambda: name,
            on_trial=self.trials.append,
        )

    async def at(self, revision: int) -> None:
        await until(lambda: self.reloader.revision == revision)


@asynccontextmanager
async def plane(api: FakeApi, name: str = ME) -> AsyncIterator[Plane]:
    found = Plane(api, name)
    task = asyncio.create_task(found.source.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await found.client.aclose()


def publish(api: FakeApi, revision: int, where: tuple[str, str] = INDEX, *, trial: int = 0) -> None:
    """As the operator does; all revisions here have the same shard."""
    made = bundle_of(shard(backends=[mock_backend()], routes=[route()]), revision=revision)
    for name, data in made.shards.items():
        api.put("configmaps", f"tidegate-default-{name}", {shard_key(name, digest(data)): data})
    named = {PLANES_KEY: json.dumps({"trial": trial, "planes": [ME]}).encode()} if trial else {}
    api.put(*where, {INDEX_KEY: made.index, **named})


async def test_only_who_is_named_tries_it_and_all_count() -> None:
    async with fake_api() as api, plane(api) as mine, plane(api, "pod-2:9090") as other:
        publish(api, 1)
        publish(api, 2, CANARY, trial=2)
        await mine.at(2)
        await other.at(1)
        await until(lambda: other.trials[-1:] == [2])
        assert mine.trials[-1] == 2
        # Taken back: by a higher number first.
        publish(api, 3)
        await mine.at(3)
        await other.at(3)
        api.put(*CANARY, {"rollout.json": b"{}"})
        await until(lambda: mine.trials[-1] == 0 and other.trials[-1] == 0)
        assert mine.reloader.refusals == 0


async def test_who_starts_during_a_trial_takes_its_part_and_ignores_one_that_is_over() -> None:
    async with fake_api() as api:
        publish(api, 1)
        publish(api, 2, CANARY, trial=2)
        async with plane(api) as mine:
            await mine.at(2)
            publish(api, 3)
            await mine.at(3)
        async with plane(api) as again:
            await again.at(3)
            await until(lambda: api.watching(*CANARY))
            assert again.reloader.revision == 3


async def test_nonsense_in_its_place_is_no_trial() -> None:
    async with fake_api() as api:
        publish(api, 1)
        api.put(*CANARY, {INDEX_KEY: b"{", PLANES_KEY: b'{"trial": 9, "planes": ["pod-1:9090"]}'})
        async with plane(api) as mine:
            await mine.at(1)
            await until(lambda: api.watching(*CANARY))
            api.put(*CANARY, {INDEX_KEY: b"{}", PLANES_KEY: b"[]"})
            publish(api, 2)
            await mine.at(2)
            assert set(mine.trials) <= {0}


async def test_a_deleted_trial_does_not_bring_the_older_revision_back() -> None:
    async with fake_api() as api:
        publish(api, 1)
        publish(api, 2, CANARY, trial=2)
        async with plane(api) as mine:
            await mine.at(2)
            await until(lambda: api.watching(*CANARY))
            api.remove(*CANARY)
            await until(lambda: mine.trials[-1] == 0)
            assert mine.reloader.revision == 2
            publish(api, 3)
            await mine.at(3)
