"""A call that will be answered, to print as a curl line: tried against the very engine that will judge it.

A key is shown only where its Secret carries the label `tidegate.dev/example: "true"`, which says that it is published
anyway.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import ConsumerEntry, Operation, RouteEntry
from tidegate_operator.compile import Served
from tidegate_operator.manifests import Manifest
from tidegate_operator.world import SecretKey, World

EXAMPLE_LABEL = "tidegate.dev/example"
KEY_VARIABLE = "TIDEGATE_KEY"
# Enough to find a call in any folder that a person reads; bounded, for folders of thousands.
_MAX_TRIES = 500


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that callers present; `value` is None where it must not be shown. `where` tells people where it is kept."""

    where: str
    value: str | None


@dataclass(frozen=True, slots=True)
class SampleCall:
    """A chat request that the policies let in."""

    route: str
    path: str
    host: str
    headers: tuple[tuple[str, str], ...]
    model: str
    credential: Credential | None

    def curl(self, url: str) -> str:
        """One line for a shell; a key that is not shown stands there as a variable."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello!"}]}
        words = ["curl", "-sS", f"{url}{self.path}", "-H", "content-type: application/json"]
        if self.host:
            words += ["-H", f"host: {self.host}"]
        for name, value in self.headers:
            words += ["-H", f"{name}: {value}"]
        line = shlex.join([*words, "-d", json.dumps(body)])
        if self.credential is None:
            return line
        shown = self.credential.value or f"${KEY_VARIABLE}"
        return f'{line} -H "authorization: Bearer {shown}"'


def sample_call(
    runtime: Runtime, served: Served, world: World, secret_manifests: Mapping[SecretKey, Manifest], now: float
) -> SampleCall | None:
    """The first chat call that `decide` lets in; None when there is none among the first few hundred."""
    routes = [entry for entry in served.entries.values() if isinstance(entry, RouteEntry)]
    consumers = [entry for entry in served.entries.values() if isinstance(entry, ConsumerEntry)]
    for route, key in islice(_candidates(sorted(routes, key=_key), sorted(consumers, key=_key), world), _MAX_TRIES):
        call = _call(route, key[1] if key else None)
        if decide(runtime, call, now).denial is None:
            return SampleCall(
                route=route.source.key,
                path=call.path,
                host=call.host,
                headers=route.headers,
                model=call.model,
                credential=_credential(key[0], key[1], secret_manifests) if key else None,
            )
    return None


def _candidates(
    routes: list[RouteEntry], consumers: list[ConsumerEntry], world: World
) -> Iterator[tuple[RouteEntry, tuple[SecretKey, str] | None]]:
    for route in routes:
        if Operation.CHAT not in route.operations or all(model.endswith("*") for model in route.models):
            continue
        yield route, None
        for consumer in consumers:
            yield from ((route, key) for key in _keys(consumer, world))


def _keys(consumer: ConsumerEntry, world: World) -> Iterator[tuple[SecretKey, str]]:
    for key in consumer.keys:
        if key.secret is None:
            continue
        name = SecretKey(consumer.source.namespace, key.secret.name)
        value = world.secrets.get(name, {}).get(key.secret.key, b"").removesuffix(b"\n")
        if sha256(value).hexdigest() == key.sha256:
            yield name, value.decode("ascii", "replace")


def _call(route: RouteEntry, key: str | None) -> Call:
    base = route.path_prefix.rstrip("/")
    host = next((host for host in route.hostnames), "")
    return Call(
        host=host.replace("*", "any", 1),
        path=f"{base}/chat/completions",
        base=base,
        operation=Operation.CHAT,
        model=next(model for model in route.models if not model.endswith("*")),
        headers=dict(route.headers),
        address="127.0.0.1",
        keys=(key,) if key else (),
    )


def _credential(name: SecretKey, value: str, manifests: Mapping[SecretKey, Manifest]) -> Credential:
    manifest = manifests.get(name)
    labels = manifest.metadata.get("labels") if manifest is not None else None
    published = isinstance(labels, dict) and labels.get(EXAMPLE_LABEL) == "true"
    return Credential(f"Secret {name.namespace}/{name.name}", value if published else None)


def _key(entry: RouteEntry | ConsumerEntry) -> str:
    return entry.source.key
