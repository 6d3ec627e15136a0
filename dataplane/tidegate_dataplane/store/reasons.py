"""What to call what went wrong with the shared store."""

import ssl
from typing import Final

from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tidegate_dataplane.store.protocol import Reason

_CAUSES: Final = (
    (ssl.SSLError, Reason.TLS),
    (ConnectionRefusedError, Reason.REFUSED),
    (FileNotFoundError | PermissionError | IsADirectoryError | UnicodeError, Reason.FILE),
)
_DENIED: Final = ("The user executing the script can't", "ACL failure in script")


def reason_of(error: Exception) -> Reason:
    """What to tell of an error; its own words may hold addresses and user names, so they are not told."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, AuthenticationError | NoPermissionError):
        return Reason.DENIED
    if isinstance(error, ReadOnlyError) or "NOREPLICAS" in str(error):
        return Reason.READ_ONLY
    if isinstance(error, ResponseError):
        # What a script's user may not do is an error of the script, not a NoPermissionError.
        return Reason.DENIED if any(words in str(error) for words in _DENIED) else Reason.ERROR
    causes = (error, error.__cause__, error.__context__)
    return next((reason for kind, reason in _CAUSES if any(isinstance(each, kind) for each in causes)), Reason.LOST)
