"""The hash chain of the audit log: how a line is sealed, and how a sealed line is taken apart. Pure.

A line is one JSON object in ASCII whose first members are `v` and `seq` and whose last is `chain`:

    {"v":1,"seq":7, ... ,"chain":"<64 hex digits>"}

`chain` is SHA-256 over the 32 bytes of the previous line's chain value and then this line's own bytes before
`,"chain":`. With a key it is HMAC-SHA-256 (RFC 2104) over the same bytes. Every byte of a line thereby has one valid
value: the first part by the hash, the last part by its form.
"""

import hashlib
import re
from binascii import hexlify, unhexlify
from collections.abc import Callable
from typing import Final, NamedTuple

SCHEMA: Final = 1
GENESIS: Final = bytes(32)
SHA256: Final = "SHA-256"
HMAC_SHA256: Final = "HMAC-SHA-256"

_MARK: Final = b',"chain":"'
_END: Final = b'"}\n'
_HEX: Final = 64
_TAIL: Final = len(_MARK) + _HEX + len(_END)
_PREFIX: Final = b'{"v":%d,"seq":' % SCHEMA
_EVENT: Final = b'"event":'
_BLOCK: Final = 64
# The chain value of nobody's line: what a key's name is made from.
_NAME_OF_KEY: Final = b"tidegate audit key id"

Digest = Callable[[bytes], bytes]


def plain_digest(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def keyed_digest(key: bytes) -> Digest:
    """HMAC-SHA-256 with `key`; its two inner states are made once, which is twice as fast as hmac.digest."""
    padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(each ^ 0x36 for each in padded))
    outer = hashlib.sha256(bytes(each ^ 0x5C for each in padded))

    def digest(data: bytes) -> bytes:
        within = inner.copy()
        within.update(data)
        around = outer.copy()
        around.update(within.digest())
        return around.digest()

    return digest


def key_id(key: bytes) -> str:
    """A name for a key, of which it tells nothing: 16 hex digits."""
    return keyed_digest(key)(_NAME_OF_KEY)[:8].hex()


class Chain:
    """Seals lines one after another. `head` is the chain value of the last, `seq` its number."""

    __slots__ = ("_digest", "head", "seq")

    def __init__(self, digest: Digest, head: bytes = GENESIS, seq: int = 0) -> None:
        self._digest = digest
        self.head = head
        self.seq = seq

    def seal(self, encoded: bytes) -> bytes:
        """The lines for JSON objects, `encoded` as msgspec's encode_lines does it, without `v`, `seq` and `chain`."""
        if not encoded.isascii() or b"\x7f" in encoded:
            encoded = ascii_only(encoded)
        digest, head, seq = self._digest, self.head, self.seq
        parts: list[bytes] = []
        for line in encoded.split(b"\n")[:-1]:
            seq += 1
            body = _PREFIX + b"%d," % seq + line[1:-1]
            head = digest(head + body)
            parts += (body, _MARK, hexlify(head), _END)
        self.head, self.seq = head, seq
        return b"".join(parts)


class SealedLine(NamedTuple):
    """A line taken apart: what the hash covers, its number, and the chain value that it states."""

    body: bytes
    seq: int
    chain: bytes

    @property
    def is_event(self) -> bool:
        """Whether the line tells of the log itself and not of a request."""
        return self.body.startswith(_EVENT, self.body.index(b",", len(_PREFIX)) + 1)


def take_apart(line: bytes) -> SealedLine | None:
    """Read a line with its newline; None when it does not have the form of one. Does not check the hash."""
    end = len(line) - _TAIL
    if not line.startswith(_PREFIX) or line[end : end + len(_MARK)] != _MARK or not line.endswith(_END):
        return None
    stated, comma = line[end + len(_MARK) : -len(_END)], line.find(b",", len(_PREFIX), end)
    number = line[len(_PREFIX) : comma]
    if comma < 0 or not number.isdigit() or len(number) > 20:
        return None
    try:
        chain = unhexlify(stated)
    except ValueError:
        return None
    if hexlify(chain) != stated:  # capital letters
        return None
    return SealedLine(line[:end], int(number), chain)


def follows(digest: Digest, before: bytes, line: SealedLine) -> bool:
    """Whether the line's chain value is the one that comes after `before`."""
    return digest(before + line.body) == line.chain


def sealed_request(digest: Digest, before: bytes, seq: int, line: bytes) -> bytes | None:
    """The chain value of a line of a request that is sealed as number `seq` after `before`; None for any other line.

    What `take_apart` and `follows` say together, in half the time.
    """
    beginning = _PREFIX + b"%d," % seq
    if not line.startswith(beginning) or line.startswith(_EVENT, len(beginning)):
        return None
    chain = digest(before + line[:-_TAIL])
    return chain if line[-_TAIL:] == _MARK + hexlify(chain) + _END else None


# Not the end of a line: inside of JSON there is none.
_UNSAFE = re.compile(r"[^\x20-\x7e\n]")


def ascii_only(encoded: bytes) -> bytes:
    r"""JSON with every character outside of printable ASCII as `\uXXXX` (RFC 8259, section 7).

    Neither a line separator (U+2028, U+0085), nor a control character of a terminal, nor one that turns the direction
    of writing reaches whoever reads the log.
    """
    return _UNSAFE.sub(_escape, encoded.decode("utf-8", "surrogatepass")).encode("ascii")


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
