"""Lists of `key=value;key="quoted"` elements, which `Forwarded` (RFC 7239, section 4) and Envoy's
`x-forwarded-client-cert` share.

Elements are taken from the right: there the nearest proxy wrote, and whatever a caller sent stands to the left of it
and cannot change how the right end is read, not even with a quote that it never closes.
"""

from collections.abc import Iterator

Pairs = list[tuple[str, str]]


def split_from_right(text: str) -> Iterator[str]:
    """The elements, last one first, split at the commas outside quotes."""
    end = position = found = len(text)
    quoted = False
    while True:
        quote = text.rfind('"', 0, position)
        if not quoted and found >= position:
            # Looked for only when the last one is behind: callers write texts of nothing but quotes.
            found = text.rfind(",", 0, position)
        comma = -1 if quoted else found
        if quote < 0 and comma < 0:
            yield text[:end]
            return
        position = max(quote, comma)
        if comma > quote:
            if text[comma - 1 : comma] == "\\":
                # No writer leaves a backslash outside quotes: a quote before it was not what it seemed.
                yield "\\"
                return
            yield text[comma + 1 : end]
            end = position
        elif not _escaped(text, quote):
            quoted = not quoted


def read_pairs(element: str) -> Pairs | None:
    """The pairs of one element, keys in lower case, values without quotes; None when it is not well formed."""
    pairs: Pairs = []
    position, length = 0, len(element)
    while position < length:
        equals = element.find("=", position)
        if equals < 0:
            return None
        key = element[position:equals].strip(" \t").lower()
        if not _is_token(key):
            return None
        read = _read_value(element, equals + 1)
        if read is None:
            return None
        value, position = read
        pairs.append((key, value))
        if position < length and element[position] != ";":
            return None
        position += 1
    return pairs or None


def _read_value(element: str, start: int) -> tuple[str, int] | None:
    """The value that begins at `start`, and where it ends."""
    if element[start : start + 1] == '"':
        return _read_quoted(element, start + 1)
    end = element.find(";", start)
    end = len(element) if end < 0 else end
    value = element[start:end].strip(" \t")
    return None if '"' in value or "\\" in value or "," in value else (value, end)


def _read_quoted(element: str, start: int) -> tuple[str, int] | None:
    end = element.find('"', start)
    while end >= 0 and _escaped(element, end):
        end = element.find('"', end + 1)
    if end < 0:
        return None
    value = element[start:end]
    after = end + 1
    while after < len(element) and element[after] in " \t":
        after += 1
    return value, after


def _escaped(text: str, position: int) -> bool:
    """Whether an odd number of backslashes stands before it."""
    before = position
    while before and text[before - 1] == "\\":
        before -= 1
    return (position - before) % 2 == 1


def _is_token(key: str) -> bool:
    return key.isascii() and key.replace("-", "").isalnum()
