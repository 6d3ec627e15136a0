"""What models usually write: how many output tokens to reserve for a call that sets no limit. Pure.

For each backend's model and operation, a histogram of what calls wrote: eight buckets to each doubling, so the answer
is at most an eighth above the true quantile, and never below it. After every `_FADES_AFTER` calls all counts are
halved, so that what a model does now outweighs what it did before.
"""

from typing import Final

from tidegate_dataplane.snapshot.entries import Operation

QUANTILE: Final = 0.95
LEAST_SAMPLES: Final = 50
MAX_MODELS: Final = 2_048
DEFAULT_OUTPUT_TOKENS: Final = 1_024
# What writes text; the others have no output to reserve.
GENERATING: Final = frozenset({Operation.CHAT, Operation.COMPLETION, Operation.RESPONSES})

_FADES_AFTER: Final = 1_024
_RENEWED_EVERY: Final = 32
_STEPS_BITS: Final = 3
_STEPS: Final = 1 << _STEPS_BITS

_Key = tuple[str, Operation]


class _Seen:
    """Of one model and operation. `reserve` is the quantile as of the last time it was worked out."""

    __slots__ = ("buckets", "reserve", "since", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.total = 0
        self.since = 0
        self.reserve = DEFAULT_OUTPUT_TOKENS


class Learnt:
    """Of one data plane. At most MAX_MODELS are remembered: the one longest without a fresh start goes first."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[_Key, _Seen] = {}

    def reserve(self, model: str, operation: Operation) -> int:
        """Output tokens to reserve for one choice: what 95 of 100 calls keep within, once 50 are known; before that
        DEFAULT_OUTPUT_TOKENS. `model` names backend and model. 0 for what writes no text."""
        seen = self._seen.get((model, operation))
        if seen is not None:
            return seen.reserve
        return DEFAULT_OUTPUT_TOKENS if operation in GENERATING else 0

    def learn(self, model: str, operation: Operation, output: int) -> None:
        """One choice of a call that ended in good order wrote `output` tokens."""
        seen = self._seen.get((model, operation))
        if seen is None:
            if operation not in GENERATING:
                return
            seen = self._remember((model, operation))
        buckets = seen.buckets
        bucket = _bucket(output)
        buckets[bucket] = buckets.get(bucket, 0) + 1
        seen.total += 1
        seen.since += 1
        if seen.total == LEAST_SAMPLES or seen.since >= _RENEWED_EVERY:
            seen.since = 0
            if seen.total >= _FADES_AFTER:
                self._fade(seen, (model, operation))
            if seen.total >= LEAST_SAMPLES:
                seen.reserve = _quantile(seen)

    def __len__(self) -> int:
        return len(self._seen)

    def _remember(self, key: _Key) -> _Seen:
        if len(self._seen) >= MAX_MODELS:
            del self._seen[next(iter(self._seen))]
        seen = self._seen[key] = _Seen()
        return seen

    def _fade(self, seen: _Seen, key: _Key) -> None:
        seen.buckets = {bucket: count // 2 for bucket, count in seen.buckets.items() if count > 1}
        seen.total = sum(seen.buckets.values())
        self._seen[key] = self._seen.pop(key)  # what is in use goes last


def _bucket(tokens: int) -> int:
    """Numbers below 8 have a bucket each; above, the leading 4 bits and the length decide."""
    if tokens < _STEPS:
        return max(tokens, 0)
    shift = tokens.bit_length() - _STEPS_BITS - 1
    return (shift << _STEPS_BITS) + (tokens >> shift)


def _most(bucket: int) -> int:
    """The largest number of a bucket."""
    if bucket < _STEPS:
        return bucket
    shift = (bucket >> _STEPS_BITS) - 1
    return ((_STEPS + (bucket & (_STEPS - 1)) + 1) << shift) - 1


def _quantile(seen: _Seen) -> int:
    wanted = seen.total * QUANTILE
    passed = 0
    last = 0
    for bucket in sorted(seen.buckets):
        last = bucket
        passed += seen.buckets[bucket]
        if passed >= wanted:
            break
    return max(1, _most(last))
