"""Snapshots and credentials from mounted directories: the floor when the API server is away.

The index and the shards lie flat in one directory (a projected volume of the operator's ConfigMaps); the credentials
in another, one file a key. The kubelet swaps each volume as a whole, but a reader may still see half of the old and
half of the new; the digests tell, and then it reads again.
"""

import asyncio
from pathlib import Path

from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, shard_key
from tidegate_dataplane.snapshot.codec import MAX_INDEX_BYTES, MAX_SHARD_BYTES, Refusal, SnapshotRefused, decode_index
from tidegate_dataplane.snapshot.entries import ShardRef
from tidegate_dataplane.source.files import POLL_SECONDS, PolledSource, Signature, directory_signature
from tidegate_dataplane.source.state import Health

NAME = "directory"
_MAX_CREDENTIAL_BYTES = 64 * 1024


class DirectorySource(PolledSource):
    """Offers what lies in a directory."""

    def __init__(self, path: Path, *, reloader: Reloader, poll: float = POLL_SECONDS) -> None:
        super().__init__(NAME, path, poll=poll)
        self._reloader = reloader

    def signature(self) -> Signature:
        return directory_signature(self.path)

    async def deliver(self) -> bool:
        outcome = await self._reloader.offer(await asyncio.to_thread(self._read), source=NAME)
        if outcome is Outcome.INCOMPLETE:
            self.state.set(Health.WAITING, "the shards that the index names are not there yet")
            return False
        if outcome is Outcome.REFUSED:
            refusal = self._reloader.last_refusal
            self.state.set(Health.FAILING, "refused, see lastRefusal")
            # Older than what is served is no mistake of the files; anything else may be put right in place.
            return refusal is None or refusal.reason is not Refusal.DIGEST_MISMATCH
        self.state.set(Health.FOLLOWING)
        return True

    def _read(self) -> Bundle:
        index = read_at_most(self.path / INDEX_KEY, MAX_INDEX_BYTES)
        try:
            refs = decode_index(index).shards
        except SnapshotRefused:
            return Bundle(index, {})  # the reloader will say why
        shards = {ref.name: data for ref in refs if (data := self._read_shard(ref)) is not None}
        return Bundle(index, shards)

    def _read_shard(self, ref: ShardRef) -> bytes | None:
        if self._reloader.holds(ref.sha256):
            return None
        try:
            return read_at_most(self.path / shard_key(ref.name, ref.sha256), MAX_SHARD_BYTES)
        except FileNotFoundError:
            return None


class CredentialsDirectory(PolledSource):
    """Reads one file for each credential; replaces all of them when one changed."""

    def __init__(self, path: Path, *, credentials: Credentials, poll: float = POLL_SECONDS) -> None:
        super().__init__("directory:credentials", path, poll=poll)
        self._credentials = credentials

    def signature(self) -> Signature:
        return directory_signature(self.path)

    async def deliver(self) -> bool:
        values = await asyncio.to_thread(self._read)
        self._credentials.replace(NAME, values)
        self.state.set(Health.FOLLOWING)
        return True

    def _read(self) -> dict[str, bytes]:
        files = [each for each in self.path.iterdir() if not each.name.startswith(".") and each.is_file()]
        return {each.name: read_at_most(each, _MAX_CREDENTIAL_BYTES) for each in files}


def read_at_most(path: Path, limit: int) -> bytes:
    """Return the file, or its first `limit` + 1 bytes, which is enough to be refused as too large."""
    with path.open("rb") as file:
        return file.read(limit + 1)
