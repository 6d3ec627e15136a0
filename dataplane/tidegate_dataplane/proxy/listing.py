"""`GET {base}/models` and `GET {base}/models/{id}`: the models that this caller may use, in OpenAI's shape."""

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.catalogue import models_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.path import listed_model
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Identity
from tidegate_dataplane.snapshot.entries import Operation

_encode = msgspec.json.Encoder().encode


def listing_call(
    *,
    host: str,
    path: str,
    base: str,
    headers: Mapping[str, str],
    address: str,
    peer: str,
    proxy_headers: Mapping[str, str],
) -> Call:
    """What the catalogue needs to know of a listing request; operation and model are not looked at."""
    return Call(
        host=host,
        path=path,
        base=base,
        operation=Operation.CHAT,
        model="",
        headers=headers,
        address=address,
        peer=peer,
        proxy_headers=proxy_headers,
    )


def list_models(runtime: Runtime, call: Call, identity: Identity, now: float) -> bytes | Denial:
    """The body to answer with; a Denial for a model that does not exist or is not this caller's."""
    models = models_for(runtime, call, identity, now)
    if isinstance(models, Denial):
        return models
    asked = unquote(listed_model(call.path, call.base))
    if not asked:
        return _encode({"object": "list", "data": [_model(name) for name in models]})
    return _encode(_model(asked)) if asked in models else denials.model_not_found(asked)


def _model(name: str) -> dict[str, str | int]:
    # When the provider made it is not known here; who offers it to the caller is this gateway.
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
