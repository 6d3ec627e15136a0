"""Following the operator's ConfigMaps and Secret, through everything that happens to watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dataplane.api_server import FakeApi, fake_api
from dataplane.factory import bundle_of, mock_backend, route, shard
from dataplane.waiting import until
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.settings import ApiAccess
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, shard_key
from tidegate_dataplane.snapshot.codec import digest
from tidegate_dataplane.source.api_client import ApiClient
from tidegate_dataplane.source.kubernetes import KubernetesSource
from tidegate_dataplane.source.state import Health
from tidegate_dataplane.upstream import UpstreamClient

INDEX = ("configmaps", "tidegate-default")
CANARY = ("configmaps", "tidegate-default-canary")
SECRET = ("secrets", "tidegate-default-credentials")


class Follower:
    """A source on a fake API, and what it delivers to."""

    def __init__(self, api: FakeApi, access: ApiAccess, *, silence: float) -> None:
        self.reloader = Reloader("default")
        self.credentials = Credentials()
        self.client = UpstreamClient()
        self.source = KubernetesSource(
            ApiClient(access, self.client),
            gateway="default",
            namespace="system",
            reloader=self.reloader,
            credentials=self.credentials,
            silence=silence,
        )

    async def at(self, revision: int) -> None:
        await until(lambda: self.reloader.revision == revision)


@asynccontextmanager
async def following(api: FakeApi, *, access: ApiAccess | None = None, silence: float = 30.0) -> AsyncIterator[Follower]:
    follower = Follower(api, access or ApiAccess(url=api.url, token="t0k3n"), silence=silence)
    task = asyncio.create_task(follower.source.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await follower.client.aclose()


def bundle(revision: int) -> Bundle:
    """Two shards, of which only the second changes."""
    changing = shard(backends=[mock_backend("other", reply=f"reply {revision}")], routes=[route("b", models=("b",))])
    return bundle_of(shard(), changing, revision=revision)


def publish(api: FakeApi, found: Bundle, *, without: str = "") -> None:
    for name, data in found.shards.items():
        if name != without:
            api.put("configmaps", f"tidegate-default-{name}", {shard_key(name, digest(data)): data})
    api.put(*INDEX, {INDEX_KEY: found.index})


async def test_what_is_published_is_loaded_and_only_changed_shards_are_fetched() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX) and api.watching(*CANARY))
            seen = len(api.requests)
            publish(api, bundle(2))
            await follower.at(2)
            assert api.requests[seen:] == ["/api/v1/namespaces/system/configmaps/tidegate-default-01"]
            assert set(api.tokens) == {"Bearer t0k3n"}
            assert all("fieldSelector" in each or "tidegate-default-0" in each for each in api.requests)


async def test_a_gateway_that_is_not_published_yet_is_waited_for() -> None:
    async with fake_api() as api, following(api) as follower:
        await until(lambda: api.watching(*INDEX))
        assert follower.source.shards_state.health is Health.WAITING
        publish(api, bundle(1))
        await follower.at(1)


async def test_a_shard_that_comes_after_its_index_is_waited_for() -> None:
    async with fake_api() as api:
        found = bundle(1)
        publish(api, found, without="01")
        async with following(api) as follower:
            await until(lambda: "not there yet" in follower.source.shards_state.message)
            assert follower.reloader.runtime is None
            publish(api, found)
            await follower.at(1)
            assert follower.reloader.refusals == 0


async def test_a_shard_that_is_put_right_again_is_taken_though_the_index_says_nothing_new() -> None:
    async with fake_api() as api:
        found = bundle(1)
        publish(api, found)
        data = found.shards["01"]
        api.put("configmaps", "tidegate-default-01", {shard_key("01", digest(data)): data[:-1]})
        async with following(api) as follower:
            await until(lambda: follower.reloader.refusals == 1)
            api.put("configmaps", "tidegate-default-01", {shard_key("01", digest(data)): data})
            await follower.at(1)


async def test_a_deleted_index_changes_nothing() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.remove(*INDEX)
            await until(lambda: follower.source.shards_state.health is Health.WAITING)
            assert follower.reloader.revision == 1
            publish(api, bundle(2))
            await follower.at(2)


async def test_a_watch_that_breaks_goes_on_where_it_was() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.bookmark(*INDEX)
            version = api.version
            await asyncio.sleep(0.05)
            seen = len(api.requests)
            api.cut()
            await until(lambda: api.watching(*INDEX))
            again = [each for each in api.requests[seen:] if "metadata.name%3Dtidegate-default&" in each]
            assert f"resourceVersion={version}" in again[0]
            assert "watch=1" in again[0]
            publish(api, bundle(2))
            await follower.at(2)


async def test_a_watch_that_is_too_old_lists_again() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.gone.add(INDEX)
            api.cut()
            publish(api, bundle(2))  # nobody watches: only a list can find it
            await follower.at(2)
            await until(lambda: api.watching(*INDEX))
            api.expire(*INDEX)
            publish(api, bundle(3))
            await follower.at(3)


async def test_versions_that_go_back_are_those_of_another_etcd() -> None:
    async with fake_api() as api:
        api.version = 1000
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.version, api.hang_watches = 10, True  # wiped: what is published now is older than where the watch is
            publish(api, bundle(2))
            api.hang_watches = False
            api.bookmark(*INDEX)
            await follower.at(2)


async def test_after_a_watch_on_which_nothing_came_it_lists_again() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.hang_watches = True
            publish(api, bundle(2))
            api.end()
            await follower.at(2)


async def test_a_watch_that_says_nothing_any_more_is_given_up() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api, silence=0.3) as follower:
            await follower.at(1)
            await until(lambda: api.watching(*INDEX))
            api.hang_watches = True
            publish(api, bundle(2))
            await asyncio.sleep(0.05)
            assert follower.reloader.revision == 1
            await follower.at(2)


async def test_an_api_server_that_refuses_is_asked_again_and_its_words_are_shown() -> None:
    async with fake_api() as api:
        publish(api, bundle(1))
        api.refuse_with = 403
        async with following(api) as follower:
            await until(lambda: follower.source.state.health is Health.FAILING)
            assert "403" in follower.source.state.message
            api.refuse_with = None
            await follower.at(1)
            assert follower.source.state.health is Health.FOLLOWING


async def test_credentials_follow_their_secret() -> None:
    async with fake_api() as api:
        api.put(*SECRET, {"team-a.openai": b"one"})
        async with following(api) as follower:
            await until(lambda: follower.credentials.get("team-a.openai") == b"one")
            await until(lambda: api.watching(*SECRET))
            api.put(*SECRET, {"team-a.openai": b"two"})
            await until(lambda: follower.credentials.get("team-a.openai") == b"two")
            api.remove(*SECRET)
            await until(lambda: follower.credentials.get("team-a.openai") is None)


async def test_a_rotated_token_is_used_from_the_next_call_on(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    async with fake_api() as api:
        publish(api, bundle(1))
        async with following(api, access=ApiAccess(url=api.url, token_file=token)) as follower:
            await follower.at(1)
            token.write_text("new\n")
            await until(lambda: api.watching(*INDEX))
            api.cut()
            await until(lambda: "Bearer new" in api.tokens)
            assert "Bearer old" in api.tokens
