"""Keeps what is published within what a ConfigMap and a Secret can hold, whoever writes how much.

Closed: an object that is left out lets nobody in, and a policy that is left out makes its routes unavailable.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from tidegate_dataplane.snapshot.entries import BackendEntry, PolicyEntry, QuotaEntry
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.compile.room import Piece, displaced
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import ObjectKey

MAX_CREDENTIALS_BYTES: Final = 448 * 1024
"""A Secret holds 1 MiB, and while keys are replaced it holds the old ones beside the new ones."""
_OVERHEAD_BYTES: Final = 64

_LEFT_OUT: Final = (
    "takes more room than there is, and namespace {namespace} takes most of it: make the object smaller, remove "
    "others of the namespace, or serve it from a gateway of its own"
)


def leave_out(keys: Iterable[ObjectKey], out: Lowered) -> None:
    """Take objects out of force, and tell them."""
    gone = frozenset(keys)
    if gone:
        # Not in place: the encoder compares the next entries with those that it was given.
        out.entries = {key: entry for key, entry in out.entries.items() if key not in gone}
    for key in gone:
        found = Finding(Reason.TOO_LARGE, "spec", _LEFT_OUT.format(namespace=key.namespace))
        out.errors[key] = sort_findings([*out.errors.get(key, ()), found])


def bound_credentials(out: Lowered) -> None:
    """Take away credentials that the one Secret has no room for, and tell the objects that they are of."""
    if sum(map(len, out.credentials.values())) + _OVERHEAD_BYTES * len(out.credentials) <= MAX_CREDENTIALS_BYTES:
        return
    owned = {
        key: tuple(name for name in _names(entry) if name in out.credentials) for key, entry in out.entries.items()
    }
    pieces = [
        Piece(key, sum(len(out.credentials[name]) + _OVERHEAD_BYTES for name in names))
        for key, names in owned.items()
        if names
    ]
    for key in displaced(pieces, MAX_CREDENTIALS_BYTES):
        for name in owned[key]:
            del out.credentials[name]
        found = Finding(Reason.TOO_LARGE, "spec", f"The credential {_LEFT_OUT.format(namespace=key.namespace)}")
        out.unresolved[key] = sort_findings([*out.unresolved.get(key, ()), found])


def _names(entry: AnyEntry) -> Iterator[str]:
    if isinstance(entry, BackendEntry):
        yield entry.credential
    elif isinstance(entry, PolicyEntry) and entry.authentication is not None:
        for provider in entry.authentication.providers:
            yield provider.credential
    elif isinstance(entry, QuotaEntry) and entry.notify is not None:
        yield entry.notify.credential
