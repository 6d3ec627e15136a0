"""Snapshots from one local file, as `encode_bundle` writes it. Whoever writes it should rename it into place."""

import asyncio
from pathlib import Path

from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.bundle import MAX_BUNDLE_BYTES, Bundle, decode_bundle
from tidegate_dataplane.snapshot.codec import SnapshotRefused
from tidegate_dataplane.source.directory import read_at_most
from tidegate_dataplane.source.files import POLL_SECONDS, PolledSource, Signature, signature_of
from tidegate_dataplane.source.state import Health

NAME = "file"


class FileSource(PolledSource):
    """Offers what stands in a file."""

    def __init__(self, path: Path, *, reloader: Reloader, poll: float = POLL_SECONDS) -> None:
        super().__init__(NAME, path, poll=poll)
        self._reloader = reloader

    def signature(self) -> Signature:
        return signature_of(self.path)

    async def deliver(self) -> bool:
        try:
            bundle = await asyncio.to_thread(self._read)
        except SnapshotRefused as refused:
            self._reloader.refuse(refused, source=NAME)
            self.state.set(Health.FAILING, "refused, see lastRefusal")
            return True  # the file must change first
        outcome = await self._reloader.offer(bundle, source=NAME)
        if outcome is Outcome.INCOMPLETE:
            self.state.set(Health.WAITING, "the file lacks shards that its index names")
        elif outcome is Outcome.REFUSED:
            self.state.set(Health.FAILING, "refused, see lastRefusal")
        else:
            self.state.set(Health.FOLLOWING)
        return True

    def _read(self) -> Bundle:
        return decode_bundle(read_at_most(self.path, MAX_BUNDLE_BYTES))
