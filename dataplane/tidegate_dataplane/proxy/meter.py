"""How the relay tells the ledger what is delivered, of a stream piece by piece, and hears when that must end."""

from typing import Protocol

from msgspec import Struct


class MidStreamStop(Struct, frozen=True, gc=False):
    """A limit ran out in the middle of a stream that may not finish. `code` is that of the error event,
    `message` says why in words for the caller."""

    code: str
    message: str


class Meter(Protocol):
    """Of one call. Numbers are cheap estimates of tokens; what the call used in the end comes by the settlement."""

    def whole(self) -> None:
        """The answer came in one piece, its tokens are noted, and it is about to go to the caller."""

    def begin(self, prompt_tokens: int) -> None:
        """The provider took the call (2xx) and streams: the prompt is used, of so many tokens."""

    def deliver(self, tokens: int) -> bool:
        """So many tokens of output are about to go to the caller. False when they are more than was reserved: then
        `extend` must be awaited before they are sent."""

    async def extend(self) -> MidStreamStop | None:
        """Reserve more; None when the stream may go on (more was granted, or it may finish beyond its limit)."""


class _NoMeter:
    """Nothing limits the call."""

    def whole(self) -> None:
        return

    def begin(self, prompt_tokens: int) -> None:
        return

    def deliver(self, tokens: int) -> bool:
        return True

    async def extend(self) -> MidStreamStop | None:
        return None


NO_METER: Meter = _NoMeter()
