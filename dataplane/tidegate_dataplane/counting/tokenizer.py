"""The tokenizer: the package splintr, which brings its vocabularies with it. See docs/decisions/0019.

It is imported and its vocabulary unpacked when first asked (about 60 ms and 30 MB for each encoding). These functions
block; `counter.py` decides where they run. Without the package nothing can be counted, and estimates take its place.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from tidegate_dataplane.counting.cuts import cut
from tidegate_dataplane.counting.encodings import Encoding

Encode = Callable[[str], list[int]]
BYTES_PER_TOKEN: Final = 4

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_loaded: dict[Encoding, Encode | None] = {}


def is_loaded(encoding: Encoding) -> bool:
    """Whether `count` begins at once."""
    return encoding in _loaded


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
    with _lock:
        if encoding not in _loaded:
            _loaded[encoding] = _read(encoding)
    return _loaded[encoding]


def _read(encoding: Encoding) -> Encode | None:
    try:
        from splintr import Tokenizer

        encode: Encode = Tokenizer.from_pretrained(encoding.value).encode_ordinary
    except (ImportError, ValueError, OSError):
        _log.exception("no tokenizer for %s: tokens that providers do not report are estimated", encoding)
        return None
    return encode
