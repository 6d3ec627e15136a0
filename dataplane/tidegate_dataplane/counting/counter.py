"""Counting for a data plane, never on its event loop: a thread reads what is to be counted, a process counts it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from tidegate_dataplane.counting.encodings import Encoding, encoding_of
from tidegate_dataplane.counting.output import Delivered, texts_of
from tidegate_dataplane.counting.prompt import Counted, Fields, count_prompt
from tidegate_dataplane.counting.remote import WORKER
from tidegate_dataplane.counting.tokenizer import BYTES_PER_TOKEN, estimate
from tidegate_dataplane.snapshot.entries import Operation

# An estimate of so much text is a look at its length, and at once.
INLINE_CHARS: Final = 65_536

_T = TypeVar("_T")


class Tally:
    """Counts texts for one call. `exact` says whether everything was counted by the model's own tokenizer."""

    __slots__ = ("_encoding", "exact")

    def __init__(self, encoding: Encoding | None) -> None:
        self._encoding = encoding
        self.exact = encoding is not None

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        found = None if self._encoding is None else WORKER.count(text, self._encoding)
        if found is None:
            self.exact = False
            return estimate(text)
        return found


class TokenCounter:
    """Counts for a data plane. Nothing starts before the first call that needs it."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def prompt(self, operation: Operation, fields: Fields, prompt_bytes: int, model: str) -> Counted:
        """Tokens of a prompt of so many bytes; `exact` when it is all text and the model's tokenizer is known."""
        encoding = encoding_of(model)
        tally = Tally(encoding)
        found = await self._run(prompt_bytes, encoding, lambda: count_prompt(operation, fields, tally))
        return Counted(found.tokens, found.exact and tally.exact)

    async def delivered(self, delivered: Delivered, model: str) -> Counted:
        """Tokens of a stream's text since its last report."""
        encoding = encoding_of(model)
        tally = Tally(encoding)
        tokens = await self._run(delivered.size, encoding, lambda: delivered.tokens(tally))
        if not tally.exact:
            tokens = max(tokens, delivered.pieces)
        return Counted(tokens, delivered.exact and tally.exact)

    async def answer(self, body: bytes, model: str) -> Counted:
        """Tokens of the text of an answer that is not streamed; one that cannot be read counts by its size."""
        encoding = encoding_of(model)
        tally = Tally(encoding)

        def work() -> int:
            texts = texts_of(body)
            if texts is None:
                tally.exact = False
                return -(-len(body) // BYTES_PER_TOKEN)
            return sum(map(tally, texts))

        tokens = await self._run(len(body), encoding, work)
        return Counted(tokens, tally.exact)

    async def fold(self, delivered: Delivered, model: str) -> None:
        """Let go of the text of a very long stream."""
        encoding = encoding_of(model)
        tally = Tally(encoding)
        await self._run(delivered.size, encoding, lambda: delivered.fold(tally))
        delivered.exact = delivered.exact and tally.exact

    async def _run(self, chars: int, encoding: Encoding | None, work: Callable[[], _T]) -> _T:
        if encoding is None and chars <= INLINE_CHARS:
            return work()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="counting")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
