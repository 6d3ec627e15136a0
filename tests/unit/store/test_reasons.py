from __future__ import annotations

import ssl

import pytest

from redis import exceptions
from tidegate_dataplane.store.protocol import Reason
from tidegate_dataplane.store.reasons import reason_of


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), Reason.TIMEOUT),
        (exceptions.TimeoutError(), Reason.TIMEOUT),
        (exceptions.AuthenticationError("WRONGPASS"), Reason.DENIED),
        (exceptions.NoPermissionError("NOPERM"), Reason.DENIED),
        (exceptions.ResponseError("ERR The user executing the script can't run this command"), Reason.DENIED),
        (exceptions.ResponseError("ERR ACL failure in script: no key"), Reason.DENIED),
        (exceptions.ReadOnlyError("READONLY"), Reason.READ_ONLY),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), Reason.READ_ONLY),
        (exceptions.OutOfMemoryError("OOM"), Reason.ERROR),
        (caused(exceptions.ConnectionError("x"), ConnectionRefusedError()), Reason.REFUSED),
        (caused(exceptions.ConnectionError("x"), ssl.SSLError()), Reason.TLS),
        (caused(exceptions.ConnectionError("x"), FileNotFoundError()), Reason.FILE),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), Reason.FILE),
        (ConnectionResetError(), Reason.LOST),
        (exceptions.ConnectionError("Connection closed by server."), Reason.LOST),
        (exceptions.BusyLoadingError("LOADING"), Reason.LOST),
    ],
)
def test_each_error_has_one_word(error: Exception, reason: Reason) -> None:
    assert reason_of(error) is reason
