"""Who calls."""

from hashlib import sha256

from tidegate_dataplane.apikey import checksum_fits
from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.credentials import find
from tidegate_dataplane.runtime.objects import Credential


def is_key(runtime: Runtime, text: str) -> bool:
    """Whether this is some consumer's API key, in force or not."""
    return find(runtime.credentials, sha256(text.encode("utf-8", "surrogatepass")).digest()) is not None


def identify(runtime: Runtime, keys: tuple[str, ...], now: float) -> Credential | Denial | None:
    """The credential that was presented, why it is refused, or None when there is none."""
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 and any(other != key for other in keys):
        return denials.SEVERAL_KEYS
    presented = key.encode("utf-8", "surrogatepass")
    # A typing error is told from its checksum, without looking for the key; the answer is the same.
    credential = None if checksum_fits(presented) is False else find(runtime.credentials, sha256(presented).digest())
    if credential is None:
        return denials.UNKNOWN_KEY
    if now < credential.not_before:
        return denials.EARLY_KEY
    if now >= credential.not_after:
        return denials.EXPIRED_KEY
    if credential.revoked:
        return denials.REVOKED_KEY
    return denials.SUSPENDED if credential.consumer.entry.suspended else credential
