"""The key of a keyed chain: read from a file, never shown."""

from pathlib import Path

MIN_BYTES = 32


class AuditKeyError(ValueError):
    """The key cannot be used; the message says what to do, and nothing of the key."""


def read_key(path: Path) -> bytes:
    """The file's content without line breaks at its end. Raises AuditKeyError."""
    try:
        key = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise AuditKeyError(f"cannot read the audit key {path}: {error.strerror or error}") from error
    if len(key) < MIN_BYTES:
        raise AuditKeyError(
            f"the audit key in {path} has {len(key)} bytes, fewer than {MIN_BYTES}: "
            f"make one with 'openssl rand -base64 {MIN_BYTES} > {path}'"
        )
    return key
