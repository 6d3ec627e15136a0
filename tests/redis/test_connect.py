"""The ways to a store: TLS, an ACL user with the least rights, a cluster, sentinels that fail over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from cluster.harness.processes import ChildProcess, free_port
from pki.authority import Authority
from redis_parts.redis_binary import find_redis
from redis_parts.redis_server import RedisServer
from store_parts.planes import DAY_MS, ask, ready, settled, single, today, until, window
from tidegate_dataplane.store import connect
from tidegate_dataplane.store.protocol import Declared, Kind, Position, Reason, Status
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings

KEY = b"k" * 16
SECRET = "correct-horse-battery"


async def command(client: Any, *words: object) -> Any:
    """Have a server run it."""
    return await client.execute_command(*words)


async def works(store: RedisStore) -> bool:
    return (await ask(store, window(KEY, limit=100, need=1))).status == Status.OK


async def why_not(settings: StoreSettings) -> Reason:
    """Why a plane with these settings does not get a connection."""
    store = RedisStore(settings, gateway="test", position=Position(b"o" * 16))
    await store.start()
    try:
        await until(lambda: store.state.connected or store.state.reason is not Reason.STARTING)
        assert not store.state.connected
        return store.state.reason
    finally:
        await store.aclose()


class TestTls:
    @pytest.fixture
    async def secured(self, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
        """A server that wants client certificates: its TLS port, and the folder with all certificates."""
        authority = Authority.create("store")
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        (tmp_path / "other.crt").write_bytes(Authority.create("other").pem)
        for name, issued in (
            ("server", authority.issue("store", ["127.0.0.1"])),
            ("client", authority.issue_client("plane")),
        ):
            (tmp_path / f"{name}.crt").write_bytes(issued.certificate)
            (tmp_path / f"{name}.key").write_bytes(issued.key)
        port = free_port()
        options = {
            "--tls-port": str(port),
            "--tls-ca-cert-file": str(tmp_path / "ca.crt"),
            "--tls-cert-file": str(tmp_path / "server.crt"),
            "--tls-key-file": str(tmp_path / "server.key"),
        }
        async with RedisServer(durable=False, more=tuple(each for pair in options.items() for each in pair)):
            yield port, tmp_path

    async def test_both_sides_prove_who_they_are(self, secured: tuple[int, Path]) -> None:
        port, folder = secured
        settings = single(
            port,
            tls=True,
            ca_file=folder / "ca.crt",
            certificate=folder / "client.crt",
            key=folder / "client.key",
        )
        store = await ready(settings)
        assert await works(store)
        await store.aclose()

    async def test_a_server_of_another_authority_is_not_trusted(self, secured: tuple[int, Path]) -> None:
        port, folder = secured
        assert await why_not(single(port, tls=True, ca_file=folder / "other.crt")) is Reason.TLS

    async def test_without_a_certificate_the_server_does_not_answer(self, secured: tuple[int, Path]) -> None:
        port, folder = secured
        assert await why_not(single(port, tls=True, ca_file=folder / "ca.crt")) in (Reason.TLS, Reason.LOST)


class TestLogin:
    @pytest.fixture
    async def guarded(self) -> AsyncIterator[RedisServer]:
        """A server with the user that the documentation of connect.py gives, and nobody else."""
        async with RedisServer(durable=False) as server:
            text = connect.__doc__ or ""
            user = text[text.index("ACL SETUSER") : text.index("\n\n(+info")].replace("PASSWORD", SECRET)
            client = server.client()
            await command(client, *user.split())
            weak = f"ACL SETUSER weak on >{SECRET} resetchannels -@all ~tidegate:* +eval +evalsha +time"
            await command(client, *weak.split())
            await command(client, "ACL", "SETUSER", "default", "resetpass")
            await client.aclose()
            yield server

    async def test_the_documented_rights_are_enough(self, guarded: RedisServer, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text(SECRET + "\n")
        settings = single(guarded.port, username="tidegate", password_file=file, database=2)
        store = await ready(settings)
        try:
            assert await works(store)
            assert await store.claim("name", 1)
            day = today()
            second = int(time.time())
            rows = [
                Declared(b"s" * 16, Kind.SLIDING, 1_000, 60, 0, second, 9, 1, 1, 1, 1),
                Declared(b"g" * 16, Kind.GAUGE, 0, 0, 0, 0, 9, 0, 1, 1, 1),
                Declared(b"w" * 16, Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS, day, 9, 1, 1, 1, 1),
                Declared(b"b" * 16, Kind.BUCKET, 1_000, 10, 0, 0, 9, 0, 0, 0, 0),
            ]
            await store.declare(rows, ())
            assert store.state.connected
        finally:
            await store.aclose()

    async def test_a_wrong_password_is_said_without_repeating_it(
        self, guarded: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        file = tmp_path / "password"
        file.write_text("wrong-" + SECRET)
        settings = single(guarded.port, username="tidegate", password_file=file)
        assert await why_not(settings) is Reason.DENIED
        assert "access_denied" in caplog.text
        assert SECRET not in caplog.text
        assert SECRET not in repr(single(guarded.port, password=SECRET))

    async def test_a_password_that_is_put_right_is_read_again(self, guarded: RedisServer, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("wrong")
        settings = single(guarded.port, username="tidegate", password_file=file)
        store = RedisStore(settings, gateway="test", position=Position(b"o" * 16))
        await store.start()
        try:
            await until(lambda: store.state.reason is Reason.DENIED)
            file.write_text(SECRET)
            await until(lambda: store.state.connected)
        finally:
            await store.aclose()

    async def test_an_unreadable_password_file_is_no_crash(self, guarded: RedisServer, tmp_path: Path) -> None:
        settings = single(guarded.port, username="tidegate", password_file=tmp_path / "missing")
        assert await why_not(settings) is Reason.FILE

    async def test_rights_that_are_missing_are_said(self, guarded: RedisServer, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text(SECRET)
        assert await why_not(single(guarded.port, username="weak", password_file=file)) is Reason.DENIED


@asynccontextmanager
async def running(*options: tuple[str, ...]) -> AsyncIterator[list[RedisServer]]:
    servers = [RedisServer(durable=False, more=more) for more in options]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.close()


class TestCluster:
    @pytest.fixture
    async def cluster(self) -> AsyncIterator[list[RedisServer]]:
        buses = [free_port() for _ in range(3)]
        options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
        async with running(*options) as servers:
            borders = [0, 5461, 10923, 16384]
            clients = [server.client() for server in servers]
            for index, client in enumerate(clients):
                await command(client, "CLUSTER", "ADDSLOTSRANGE", borders[index], borders[index + 1] - 1)
                await command(client, "CLUSTER", "MEET", "127.0.0.1", servers[0].port, buses[0])
            async with asyncio.timeout(30):
                for client in clients:
                    while b"cluster_state:ok" not in await command(client, "CLUSTER", "INFO"):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            for client in clients:
                await client.aclose()
            yield servers

    async def test_any_node_leads_to_the_one_that_holds_the_gateways_counters(self, cluster: list[RedisServer]) -> None:
        addresses = tuple(("127.0.0.1", server.port) for server in cluster)
        settings = StoreSettings(mode=Mode.CLUSTER, addresses=addresses)
        stores = await asyncio.gather(*(ready(settings, gateway=gateway) for gateway in "abcde"))
        try:
            assert [await works(store) for store in stores] == [True] * 5
            for server in cluster:
                async with server.client() as client:
                    assert await client.dbsize() > 0, "the gateways' counters are not spread over the nodes"
        finally:
            for store in stores:
                await store.aclose()

    async def test_counters_that_move_to_another_node_are_followed(self, cluster: list[RedisServer]) -> None:
        settings = StoreSettings(mode=Mode.CLUSTER, addresses=(("127.0.0.1", cluster[0].port),))
        store = await ready(settings, gateway="moving")
        clients = [server.client() for server in cluster]
        try:
            assert (await ask(store, window(KEY, limit=100, need=60))).status == Status.OK
            slot = await command(clients[0], "CLUSTER", "KEYSLOT", "{moving}")
            ids = [(await command(client, "CLUSTER", "MYID")).decode() for client in clients]
            (source,) = [i for i, c in enumerate(clients) if await command(c, "CLUSTER", "COUNTKEYSINSLOT", slot)]
            target = (source + 1) % 3
            await command(clients[target], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            await command(clients[source], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            while keys := await command(clients[source], "CLUSTER", "GETKEYSINSLOT", slot, 100):
                address = ("127.0.0.1", cluster[target].port)
                await command(clients[source], "MIGRATE", *address, "", 0, 5000, "KEYS", *keys)
            for index in (target, source):
                await command(clients[index], "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            # It is another process: what planes know is declared, and what has moved is still there.
            await until(lambda: store.state.must_declare and store.state.connected)
            day = today()
            row = Declared(KEY, Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS, day, 100, 0, 60, 60, 60)
            await store.declare([row], store.known_owners)
            await settled(store)
            assert (await ask(store, window(KEY, limit=100, firm=60, keep=60, need=41))).status == Status.REFUSED
            assert (await ask(store, window(KEY, limit=100, firm=60, keep=60, need=40))).status == Status.OK
        finally:
            for client in clients:
                await client.aclose()
            await store.aclose()


class TestSentinel:
    @pytest.fixture
    async def sentinel(self, tmp_path: Path) -> AsyncIterator[tuple[int, RedisServer, RedisServer]]:
        """A sentinel's port, a master, and its replica."""
        async with running(()) as (master,), running(("--replicaof", f"127.0.0.1 {master.port}")) as (replica,):
            port = free_port()
            file = tmp_path / "sentinel.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
                f"sentinel monitor gate 127.0.0.1 {master.port} 1\n"
                "sentinel down-after-milliseconds gate 300\nsentinel failover-timeout gate 2000\n"
            )
            process = ChildProcess("sentinel", [find_redis(), file, "--sentinel"], log=tmp_path / "sentinel.log")
            client = Redis(port=port)
            try:
                await answers_about_a_replica(client)
                yield port, master, replica
            finally:
                await client.aclose()
                await asyncio.to_thread(process.stop)

    async def test_a_stale_replica_that_becomes_master_is_found_out(
        self, sentinel: tuple[int, RedisServer, RedisServer]
    ) -> None:
        port, master, replica = sentinel
        settings = StoreSettings(mode=Mode.SENTINEL, addresses=(("127.0.0.1", port),), master="gate")
        one, two = await ready(settings), await ready(settings)
        try:
            # The replica hangs while 90 of 100 are granted, so it never hears of them; then the master dies.
            replica.pause()
            assert (await ask(two, window(KEY, limit=100, need=90))).status == Status.OK
            await master.kill()
            replica.resume()
            await until(lambda: one.state.connected and one.state.must_declare, seconds=60)
            await one.declare([], one.known_owners)
            assert (await ask(one, window(KEY, limit=100, need=11))).status == Status.REBUILDING
            await until(lambda: two.state.connected and two.state.must_declare, seconds=60)
            day = today()
            row = Declared(KEY, Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS, day, 100, 0, 90, 90, 90)
            await two.declare([row], two.known_owners)
            await settled(one)
            assert (await ask(one, window(KEY, limit=100, need=11))).status == Status.REFUSED
            assert (await ask(one, window(KEY, limit=100, need=10))).status == Status.OK
        finally:
            await one.aclose()
            await two.aclose()

    async def test_an_unknown_master_is_no_connection(self, sentinel: tuple[int, RedisServer, RedisServer]) -> None:
        settings = StoreSettings(mode=Mode.SENTINEL, addresses=(("127.0.0.1", sentinel[0]),), master="nobody")
        assert await why_not(settings) is Reason.LOST


async def answers_about_a_replica(client: Redis) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if await command(client, "SENTINEL", "REPLICAS", "gate"):
                    return
            except RedisConnectionError:
                pass
            await asyncio.sleep(0.1)
