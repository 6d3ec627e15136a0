"""Which models a caller may use: the answer to `GET /models`."""

from msgspec.structs import replace

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import admit
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import ANONYMOUS
from tidegate_dataplane.snapshot.entries import Method


def visible_models(runtime: Runtime, call: Call, now: float) -> list[str] | Denial:
    """Exact model names (no globs), sorted, that this caller would be let in for, in any operation, at this moment.

    `call` gives host, base, headers, address and keys; its operation and model are not looked at. A Denial when the
    key is refused, or when none was given and nothing is open to everyone.
    """
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        return found
    method, consumer = (Method.ANONYMOUS, ANONYMOUS) if found is None else (Method.API_KEY, found.consumer)
    visible: set[str] = set()
    for operation, model in runtime.table.names(call.host, call.base):
        if model not in visible:
            asked = replace(call, operation=operation, model=model)
            if admit(runtime, asked, now, method, consumer).denial is None:
                visible.add(model)
    if not visible and method is Method.ANONYMOUS:
        return denials.NO_KEY
    return sorted(visible)
