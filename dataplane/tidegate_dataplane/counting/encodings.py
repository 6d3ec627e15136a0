"""Which vocabulary a model reads and writes in, by its name.

Source: OpenAI's published mapping of models to encodings (OpenAI cookbook, "How to count tokens with tiktoken"). A
model that is not named there has no encoding: a wrong tokenizer looks exact and is not.
"""

from enum import StrEnum
from functools import lru_cache


class Encoding(StrEnum):
    """A vocabulary with its rule of splitting text, as its publisher calls it."""

    O200K = "o200k_base"
    CL100K = "cl100k_base"


# The first that fits is taken, so the longer names stand before the shorter.
_BY_PREFIX: tuple[tuple[str, Encoding], ...] = (
    ("gpt-4o", Encoding.O200K),
    ("gpt-4.1", Encoding.O200K),
    ("gpt-4.5", Encoding.O200K),
    ("gpt-5", Encoding.O200K),
    ("chatgpt-", Encoding.O200K),
    ("o1", Encoding.O200K),
    ("o3", Encoding.O200K),
    ("o4", Encoding.O200K),
    ("gpt-4", Encoding.CL100K),
    ("gpt-3.5", Encoding.CL100K),
    ("gpt-35", Encoding.CL100K),  # as Azure spells it
    ("text-embedding-3", Encoding.CL100K),
    ("text-embedding-ada-002", Encoding.CL100K),
)


@lru_cache(maxsize=1024)
def encoding_of(model: str) -> Encoding | None:
    """Of a model as a backend calls it; "ft:NAME:..." and "vendor/NAME" mean NAME. None where nobody knows."""
    name = model.lower().removeprefix("ft:").rpartition("/")[2]
    for prefix, encoding in _BY_PREFIX:
        if name.startswith(prefix) and _ends(name, prefix):
            return encoding
    return None


def _ends(name: str, prefix: str) -> bool:
    """Whether the prefix is a word of its own: o1-mini and gpt-4o-mini, not o11 or gpt-40."""
    return len(name) == len(prefix) or prefix[-1] == "-" or name[len(prefix)] in "-.:@_"
