"""JWK sets that Secrets hold (RFC 7517): what of them may be known to everybody, and what is wrong with them. Pure."""

import json
from dataclasses import dataclass

from tidegate_dataplane.authenticate.keys import KeySetError, parse_key_set

# RFC 7517, section 4, and RFC 7518, section 6: what may be known to everybody.
_PUBLIC = frozenset({"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"})
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class KeySetReading:
    """`text` is the set in canonical form with nothing that is not public, "" when it is none.

    `faults` go on from the words "key K of Secret S".
    """

    text: str
    faults: tuple[str, ...]


def read_key_set(value: bytes) -> KeySetReading:
    """Builds every key, which costs: to be done once for a value."""
    try:
        keys = parse_key_set(value)
    except KeySetError as error:
        return KeySetReading("", (f"is no usable JWK set (RFC 7517): {error}",))
    members = [member for member in json.loads(value)["keys"] if isinstance(member, dict)]
    public = [
        {name: member[name] for name in sorted(member) if name in _PUBLIC}
        for member in members
        if member.get("kty") != "oct"
    ]
    faults = []
    if any(not _PRIVATE.isdisjoint(member) for member in members):
        faults.append("holds private keys: leave only public ones")
    if not keys.keys:
        faults.append(f"holds no key that can be used{f': {keys.skipped[0]}' if keys.skipped else ''}")
    return KeySetReading(json.dumps({"keys": public}, separators=(",", ":")), tuple(faults))
