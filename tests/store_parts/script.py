"""The script of the ledger itself on a real server, with the time and the identity of the server set by the test."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis
from tidegate_dataplane.store import encoding
from tidegate_dataplane.store.encoding import Batch, Command, DeclareReply, Header, Reply
from tidegate_dataplane.store.protocol import Declared, Line

_SOURCE = files("tidegate_dataplane.store").joinpath("ledger.lua").read_bytes()
# Each key: its value as DUMP gives it, and when it expires.
Snapshot = dict[bytes, tuple[bytes, int]]
_TIME = b"call('TIME')"
_RUN = b"string.match(call('INFO', 'server'), 'run_id:(%x+)')"


class ScriptServer:
    """Runs batches at `now_ms` as the process `run`. Only the two places that ask the server for these are replaced."""

    def __init__(self, port: int) -> None:
        self.redis = redis.Redis(host="127.0.0.1", port=port)
        assert _SOURCE.count(_TIME) == 1
        assert _SOURCE.count(_RUN) == 1
        script = _SOURCE.replace(_TIME, b"{ARGV[2], ARGV[3]}").replace(_RUN, b"ARGV[4]")
        self.redis.script_load(script.decode())
        self._command = Command("test", script, sha1(script, usedforsecurity=False).hexdigest().encode())
        self.now_ms = 1_800_000_000_000
        self.run = "process1"

    def close(self) -> None:
        self.redis.close()

    def call(self, command: bytes) -> bytes:
        """Send what `Command` built, with the time and the process added to its arguments."""
        count = int(command[1 : command.index(b"\r\n")])
        seconds, rest = divmod(self.now_ms * 1000, 1_000_000)
        more = [str(seconds).encode(), str(rest).encode(), self.run.encode()]
        whole = b"*%d" % (count + 3) + command[command.index(b"\r\n") :]
        whole += b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in more)
        connection: Any = self.redis.connection_pool.get_connection()
        try:
            connection.send_packed_command([whole])
            answer = connection.read_response(disable_decoding=True)
        finally:
            self.redis.connection_pool.release(connection)
        assert isinstance(answer, bytes)
        return answer

    def exchange_command(self, header: Header, decisions: Sequence[Sequence[Line]]) -> bytes:
        return self._command.script(header, encoding.batch(decisions))

    def exchange(self, header: Header, decisions: Sequence[Sequence[Line]]) -> Reply:
        return encoding.decode_reply(self.call(self.exchange_command(header, decisions)))

    def declare(
        self, header: Header, rows: Sequence[Declared], *, begin: bool, final: bool, known: list[str] | None
    ) -> DeclareReply:
        batch = encoding.declaration(rows) if rows else Batch([], [], [])
        return encoding.decode_declare_reply(
            self.call(self._command.script(header, batch, declare=(begin, final, known)))
        )

    def snapshot(self) -> Snapshot:
        """All keys, as a dump file or a stale replica holds them."""
        client: Any = self.redis
        return {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter()}

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot; an empty one loses everything."""
        self.redis.flushall()
        for key, (value, expires) in snapshot.items():
            self.redis.restore(key, max(0, expires), value, absttl=expires > 0)
