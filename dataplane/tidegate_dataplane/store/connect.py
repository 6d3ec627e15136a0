"""One connection to the master of the shared store: a single server, whom sentinels name, or a node of a cluster.

A data plane sends one batch at a time, so it needs one connection and no pool. All its keys carry one hash tag, so in
a cluster it needs one node: the nodes themselves say which (MOVED). redis-py connects, logs in and parses; retrying is
ours. An ACL user of the store needs no more than

    ACL SETUSER tidegate on >PASSWORD resetchannels -@all ~tidegate:* +eval +evalsha +time +info|server +select
        +get +set +del +pexpireat +hget +hset +hdel +hmget +hgetall +hvals +hlen +hexists +hrandfield
        +zadd +zcount +zrangebyscore +zrevrange +zremrangebyscore

(+info where subcommands are not known to the server, +select only with a database other than 0), and for the sentinels,
which are asked without a login, nothing. The server must keep what it has: `maxmemory-policy noeviction`. A master that
sentinels or a cluster may replace must stop when it is alone, or two would grant: `min-replicas-to-write 1`.
"""

import ssl
from typing import Final, cast

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from tidegate_dataplane.store.settings import Mode, StoreSettings

# For the name, the handshakes and the login; no request waits for this.
CONNECT_SECONDS: Final = 2.0
Address = tuple[str, int]


class Connector:
    """Finds the master and connects to it. `settings` never change."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._moved: Address | None = None

    def moved(self, host: str, port: int) -> None:
        """A node of the cluster answered `MOVED slot host:port`: the next connection goes there."""
        # A node that does not know how others are reached leaves the host out.
        self._moved = (host or self._settings.addresses[0][0], port)

    @property
    def redirected(self) -> bool:
        """Whether `moved` was told of a node that `connect` has not yet gone to."""
        return self._moved is not None

    async def connect(self) -> Connection:
        """Raises what redis-py raises, OSError (also for unreadable files), or ssl.SSLError."""
        settings = self._settings
        if settings.mode is Mode.SENTINEL:
            return await self._open(await self._ask_sentinels())
        moved, self._moved = self._moved, None
        addresses = settings.addresses if moved is None else (moved, *settings.addresses)
        return await self._first(addresses)

    async def _first(self, addresses: tuple[Address, ...]) -> Connection:
        error: Exception = RedisConnectionError("no address")
        for address in addresses:
            try:
                return await self._open(address)
            except (RedisError, OSError) as failure:
                error = failure
        raise error

    async def _ask_sentinels(self) -> Address:
        error: Exception = RedisConnectionError("no sentinel")
        for address in self._settings.addresses:
            try:
                connection = await self._open(address, login=False)
                try:
                    await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._settings.master)
                    found = await connection.read_response()
                finally:
                    await connection.disconnect(nowait=True)
            except (RedisError, OSError) as failure:
                error = failure
                continue
            if found:
                host, port = cast("list[bytes]", found)
                return host.decode(), int(port)
            error = RedisConnectionError("no sentinel knows the master by this name")
        raise error

    async def _open(self, address: Address, *, login: bool = True) -> Connection:
        settings = self._settings
        # RESP2 is parsed faster by redis-py than RESP3, and nothing of RESP3 is used.
        options: dict[str, object] = {
            "host": address[0],
            "port": address[1],
            "protocol": 2,
            "driver_info": None,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_SECONDS,
        }
        if login:
            options["db"] = settings.database
            options["username"] = settings.username or None
            options["password"] = self._password() or None
        connection = self._tls(options) if settings.tls else Connection(**options)  # type: ignore[arg-type]  # of mixed types
        try:
            await connection.connect_check_health(retry_socket_connect=False)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _tls(self, options: dict[str, object]) -> Connection:
        settings = self._settings
        return SSLConnection(
            ssl_ca_certs=None if settings.ca_file is None else str(settings.ca_file),
            ssl_certfile=None if settings.certificate is None else str(settings.certificate),
            ssl_keyfile=None if settings.key is None else str(settings.key),
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            **options,  # type: ignore[arg-type]  # as above
        )

    def _password(self) -> str:
        file = self._settings.password_file
        return self._settings.password if file is None else file.read_text().rstrip("\r\n")
