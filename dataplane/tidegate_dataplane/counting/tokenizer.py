"""The tokenizer: the package splintr, which brings its vocabularies with it. See docs/decisions/0019.

It is imported and its vocabulary unpacked when first asked, 20 to 35 MB for each encoding, in a process of its own
(`worker.py`). Without the package nothing can be counted, and estimates take its place.
"""

import logging
from collections.abc import Callable
from typing import Final

from tidegate_dataplane.counting.cuts import cut
from tidegate_dataplane.counting.encodings import Encoding

Encode = Callable[[str], list[int]]
BYTES_PER_TOKEN: Final = 4

_log = logging.getLogger(__name__)
_loaded: dict[Encoding, Encode | None] = {}


def count(text: str, encoding: Encoding) -> int | None:
    """Tokens of a text; what looks like a special token is text as any other. None when it cannot be counted.

    Time is linear in the length, whatever the text: it is cut into parts first.
    """
    encode = _loaded[encoding] if encoding in _loaded else _load(encoding)
    if encode is None:
        return None
    try:
        return sum(len(encode(part)) for part in cut(text))
    except UnicodeEncodeError:
        # Halves of surrogate pairs, as some servers cut them: two that meet are the character, one alone is none.
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return sum(len(encode(part)) for part in cut(whole))
    except BaseException as error:
        # A panic of the Rust code is no Exception; it must not end the request that is only being counted.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            _log.exception("a text of %d characters could not be counted in %s", len(text), encoding)
            return None
        raise


def estimate(text: str) -> int:
    """A quarter token for each byte of UTF-8. How far it is off: docs/reference/usage-counting.md."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // BYTES_PER_TOKEN)


def _load(encoding: Encoding) -> Encode | None:
    _loaded[encoding] = encode = _read(encoding)
    return encode


def _read(encoding: Encoding) -> Encode | None:
    try:
        from splintr import Tokenizer

        encode: Encode = Tokenizer.from_pretrained(encoding.value).encode_ordinary
    except (ImportError, ValueError, OSError):
        _log.exception("no tokenizer for %s: tokens that providers do not report are estimated", encoding)
        return None
    return encode
