"""How many tokens to reserve before the call, and where the number in the end may be from.

Input: a bound that errs upwards, whatever the text (`bound_input`). Output: what the caller allows, else
DEFAULT_OUTPUT_TOKENS until it is learnt what such calls come to (`ledger.learnt`).
"""

import re
from typing import Final

from tidegate_dataplane.ledger.learnt import DEFAULT_OUTPUT_TOKENS, GENERATING
from tidegate_dataplane.snapshot.entries import Operation

# A large picture takes 1,445 (OpenAI, "Images and vision") or 1,600 (Anthropic, "Vision").
PICTURE_TOKENS: Final = 1_600

REPORTED: Final = "Reported"  # by the provider
COUNTED: Final = "Counted"  # here, by the model's own tokenizer
ESTIMATED: Final = "Estimated"  # from the number of bytes


_LETTERS: Final = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DATA_URL: Final = re.compile(rb'"(?:url|image_url)"\s*:\s*"data:image/')


def bound_input(text: bytes) -> int:
    """What to reserve for a field of a request as JSON: it should rarely be less than what a model reads.

    A quarter token for each letter and space and half a token for each other byte: digits, marks, and what is not
    ASCII. By OpenAI's tokenizers that is 1.1 times what prose and code take, 1.2 to 4 times what Arabic, Chinese, Hindi
    or Russian take, and too little only for what nobody writes (random letters, emoji alone: down to 0.4). A picture
    counts as PICTURE_TOKENS, however many bytes it has. About a microsecond a kilobyte.
    """
    pictures = 0
    if b"image" in text:
        # In a text the quotes would be escaped.
        pictures = max(-(-text.count(b'"image_url"') // 2), text.count(b'"input_image"'))
        if b'"data:image/' in text:
            text = _without_data(text)
    size = len(text)
    return -(-(2 * size - (size - len(text.translate(None, _LETTERS)))) // 4) + pictures * PICTURE_TOKENS


def _without_data(text: bytes) -> bytes:
    kept: list[bytes] = []
    start = 0
    for found in _DATA_URL.finditer(text):
        if found.end() < start:
            continue
        kept.append(text[start : found.end()])
        start = max(text.find(b'"', found.end()), found.end())
    kept.append(text[start:])
    return b"".join(kept)


def reserve_output(operation: Operation, allowed: int | None, choices: int) -> int:
    """Tokens to reserve before the call."""
    if operation not in GENERATING:
        return 0
    # To some servers 0 means no limit.
    return (DEFAULT_OUTPUT_TOKENS if allowed is None else max(1, allowed)) * choices
