"""When each API key was last used, to the second, since this data plane started. Belongs to one event loop."""

import time
from typing import Final

from tidegate_dataplane.runtime.objects import NO_TOKEN, Identity
from tidegate_dataplane.snapshot.entries import Method
from tidegate_dataplane.snapshot.records import DIGEST_BYTES

# A key that comes with a token leaves the token's digest here too, and tokens come and go.
_MOST: Final = 200_000


class KeyUses:
    """Kept by the digests of `Identity.digests`, so that a reload, or a key that gets another name, loses nothing."""

    def __init__(self) -> None:
        self.since = int(time.time())
        self.newest = 0
        self._seen: dict[bytes, int] = {}

    def note(self, identity: Identity, now: float) -> None:
        """A call by this identity was let in. `now` is in seconds since the epoch."""
        if identity.token is not NO_TOKEN and Method.API_KEY not in identity.methods:
            return
        second, seen = int(now), self._seen
        for digest in identity.digests:
            if seen.get(digest) != second:
                seen[digest] = self.newest = second
                if len(seen) > _MOST:
                    self._forget()

    def last(self, digest: bytes) -> int | None:
        """The second of the last use of the key with that SHA-256; None when it was not used."""
        return self._seen.get(digest[:DIGEST_BYTES])

    def _forget(self) -> None:
        """Let the half that was unused for longest go."""
        by_age = sorted(self._seen.items(), key=lambda item: item[1])
        self._seen = dict(by_age[len(by_age) // 2 :])
