"""Cutting text without changing how many tokens it has. Pure.

Tokenizers of this family first split text by a regular expression and then merge within each piece, so a cut between
two pieces changes nothing. After a letter and before white space or closing punctuation both expressions (o200k_base,
cl100k_base) always begin a new piece. Where no such place is near, the cut falls anywhere and may add a token or two.
"""

import re
from collections.abc import Iterator

CUT_CHARS = 16_384
_BEFORE_NEW_PIECE = re.compile(r"[^\W\d_](?=[\s.,;:!?)\]，。、；：！？）】])")
_LOOK_BACK = 1_024


def last_cut(text: str, limit: int) -> int:
    """The last place within the first `limit` characters where a cut is free; `limit` itself when there is none."""
    for start in (max(0, limit - _LOOK_BACK), 0):
        place = 0
        # The character after the place must be there to be looked at.
        for found in _BEFORE_NEW_PIECE.finditer(text, start, limit + 1):
            place = found.end()
        if place:
            return place
    return limit


def cut(text: str, size: int = CUT_CHARS) -> Iterator[str]:
    """The text in parts of at most `size` characters."""
    start = 0
    while len(text) - start > size:
        part = text[start : start + size + 1]
        end = last_cut(part, size)
        yield part[:end]
        start += end
    if start < len(text):
        yield text[start:] if start else text
