"""`GET {base}/models` and `GET {base}/models/{id}`: the models that this caller may use, in OpenAI's shape.

Of thousands of routes each is judged, which takes long, and no rate limit speaks of it: so a list is made in slices,
and of the long ones one at a time.
"""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Final
from urllib.parse import unquote

import msgspec

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.catalogue import all_models, each_route
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.path import listed_model
from tidegate_dataplane.errors import API_ERROR, Failure
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Identity
from tidegate_dataplane.snapshot.entries import Operation

SLICE_SECONDS: Final = 0.001
MAX_WAITING: Final = 64
_BUSY: Final = "Too many lists of models are being made at once. Retry, and keep the list that you get for a while."

_encode = msgspec.json.Encoder().encode


def listing_call(exchange: Exchange, base: str) -> Call:
    """What the catalogue needs to know of a listing request; operation and model are not looked at."""
    return Call(
        host=exchange.host,
        path=exchange.path,
        base=base,
        operation=Operation.CHAT,
        model="",
        headers=exchange.headers,
        address=exchange.address,
        peer=exchange.peer,
        proxy_headers=exchange.proxy_headers,
    )


class Lister:
    """Makes lists for all callers of one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def answer(self, runtime: Runtime, call: Call, identity: Identity, now: float) -> bytes | Denial:
        """The body to answer with; a Denial for a model that does not exist or is not this caller's. Raises Failure
        when too many wait already."""
        models = await self.models(runtime, call, identity, now)
        if isinstance(models, Denial):
            return models
        asked = unquote(listed_model(call.path, call.base))
        if not asked:
            return _encode({"object": "list", "data": [_model(name) for name in models]})
        return _encode(_model(asked)) if asked in models else denials.model_not_found(asked)

    async def models(self, runtime: Runtime, call: Call, identity: Identity, now: float) -> list[str] | Denial:
        """As `models_for`; only a list that one slice does not suffice for waits for its turn."""
        found: set[str] = set()
        end = perf_counter() + SLICE_SECONDS
        routes = each_route(runtime, call, identity, now)
        for models in routes:
            found |= models
            if perf_counter() >= end:
                await self._rest(routes, found)
        return all_models(runtime, found, identity)

    async def _rest(self, routes: Iterator[set[str]], found: set[str]) -> None:
        if self._waiting > MAX_WAITING:
            raise Failure(503, "overloaded", _BUSY, type=API_ERROR, headers=((b"retry-after", b"1"),))
        self._waiting += 1
        try:
            async with self._turn:
                end = 0.0
                for models in routes:
                    found |= models
                    if perf_counter() >= end:
                        await asyncio.sleep(0)
                        end = perf_counter() + SLICE_SECONDS
        finally:
            self._waiting -= 1


def _model(name: str) -> dict[str, str | int]:
    # When the provider made it is not known here; who offers it to the caller is this gateway.
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
