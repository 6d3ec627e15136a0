"""One object among many becomes invalid, then everything is killed: its last good form serves, nothing else changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.harness.callers import ask
from cluster.harness.objects import (
    Manifest,
    collection_of,
    consumer,
    custom,
    key_policy,
    mock_backend,
    path_of,
    route,
)
from cluster.harness.processes import wait_until
from cluster.harness.published import Published, served_objects, versions
from cluster.harness.system import System

OBJECTS = int(os.environ.get("TIDEGATE_TEST_OBJECTS", "300"))
"""`make chaos` asks for 3,000."""

ROUTES = 88
PER_NAMESPACE = ROUTES + 12
"""A backend, 88 routes, ten consumers and a policy."""

WRONG_EXPRESSION = {"name": "odd", "effect": "Deny", "when": "request.noSuchAttribute == 'x'"}
WRONG_WINDOW = {"unit": "Requests", "amount": "1", "window": {"calendar": "Day", "timeZone": "Europe/Atlantis"}}
RIGHT_WINDOW = {"unit": "Requests", "amount": "1000000", "window": {"calendar": "Day", "timeZone": "Europe/Berlin"}}


@pytest.mark.timeout(300)
def test_the_last_good_form_survives_everything(own_system: System) -> None:
    """The victims are a policy, a quota, a consumer and a backend, each wrong in a way that only the compiler sees."""
    system, world = own_system, _World.of(OBJECTS)
    world.create(system)
    victims = [make(world.namespaces[0]) for make in (_policy, _quota, _consumer, _backend)]
    system.apply(*victims)
    system.wait_all_ready(victims)
    system.wait_for_status(403, key=world.key, model=world.model)
    served = system.published()
    assert len(served.entries) == OBJECTS + len(victims)
    written = versions(system.admin)

    for victim, fault in zip(victims, _faults(), strict=True):
        _make_invalid(system, victim, fault)
    assert versions(system.admin) == written, "an invalid generation wrote something"
    _still(system, world, victims)

    system.kill()
    system.start()
    system.wait_ready()
    system.operator.wait_for_log("leading as")
    marker = mock_backend(world.namespaces[-1], "marker")
    system.apply(marker)
    system.wait_for(marker, "Ready")
    _still(system, world, victims)
    _equal_but_for(served, system.published(), marker)

    for victim in victims:
        system.admin.patch(path_of(victim), {"spec": victim["spec"]})
    system.wait_all_ready(victims)


def test_an_object_that_was_never_valid_is_not_served(system: System, namespace: str) -> None:
    world = _World((namespace,))
    policy = _policy(namespace)
    policy["spec"]["authorization"]["rules"] = [WRONG_EXPRESSION]
    system.apply(mock_backend(namespace), world.route(namespace, 0), world.consumer(namespace, 0), policy)
    found = system.wait_for(policy, "Accepted", "False")
    assert "servedGeneration" not in found["status"]
    system.wait_for_status(503, key=world.key, model=world.model, code="policy_unavailable")
    system.delete(policy)
    system.apply(key_policy(namespace))
    system.wait_for_status(200, key=world.key, model=world.model)


def _policy(namespace: str) -> Manifest:
    """Closes the namespace for the one model of its first route."""
    rule = {"name": "closed", "effect": "Deny", "models": [f"chat-{namespace}-0"]}
    return key_policy(namespace, "closed", authorization={"rules": [rule]})


def _quota(namespace: str) -> Manifest:
    return custom("Quota", namespace, "victim", {"targetRefs": [{"kind": "Namespace"}], "limits": [RIGHT_WINDOW]})


def _consumer(namespace: str) -> Manifest:
    return consumer(namespace, "victim", sha256="0" * 64)


def _backend(namespace: str) -> Manifest:
    spec = {"provider": "OpenAICompatible", "endpoint": "https://models.example.com/v1"}
    return custom("AIBackend", namespace, "victim", spec)


def _faults() -> list[dict[str, Any]]:
    """A merge patch of the spec for each victim: the API server admits it, the compiler does not."""
    times = {"notBefore": "2026-12-01T00:00:00Z", "notAfter": "2026-11-01T00:00:00Z"}
    return [
        {"authorization": {"rules": [WRONG_EXPRESSION]}},
        {"limits": [WRONG_WINDOW]},
        {"credentials": {"apiKeys": [{"name": "main", "sha256": "0" * 64, **times}]}},
        {"endpoint": "https://models.example.com/../v1"},
    ]


def _make_invalid(system: System, victim: Manifest, fault: dict[str, Any]) -> None:
    generation = system.get(victim)["metadata"]["generation"]
    system.admin.patch(path_of(victim), {"spec": fault})
    found = system.wait_for(victim, "Accepted", "False")
    assert found["metadata"]["generation"] == generation + 1
    assert found["status"]["servedGeneration"] == generation
    assert system.condition(victim, "Programmed")["status"] == "False"


def _still(system: System, world: _World, victims: list[Manifest]) -> None:
    """The policy's last good form denies the caller of the first namespace; others are served."""
    for plane in system.planes:
        denied = ask(plane.url, key=world.key, model=world.model)
        assert (denied.status, denied.code) == (403, "permission_denied"), denied.body
        other = len(world.namespaces) - 1
        assert ask(plane.url, key=world.key_of(other), model=world.model_of(other)).status == 200
    for victim in victims:
        found = system.get(victim)
        assert found["status"]["servedGeneration"] == found["metadata"]["generation"] - 1


def _equal_but_for(before: Published, after: Published, marker: Manifest) -> None:
    added = f"{marker['kind']} {marker['metadata']['namespace']}/{marker['metadata']['name']}"
    assert after.entries.keys() - before.entries.keys() == {added}
    assert {name: after.entries[name] for name in before.entries} == before.entries
    touched = after.shard_of(added)
    assert {name for name in after.shards if after.shards[name] != before.shards.get(name)} == {touched}


@dataclass(frozen=True)
class _World:
    """Namespaces with a backend, routes, consumers and a policy each. Keys protect loopback ports only."""

    namespaces: tuple[str, ...]

    @classmethod
    def of(cls, objects: int) -> _World:
        return cls(tuple(f"team-{number:02d}" for number in range(objects // PER_NAMESPACE)))

    @property
    def key(self) -> str:
        """Of the first namespace's first consumer."""
        return self.key_of(0)

    @property
    def model(self) -> str:
        """Of the first namespace's first route."""
        return self.model_of(0)

    def key_of(self, number: int) -> str:
        return f"a-key-for-{self.namespaces[number]}-0"

    def model_of(self, number: int) -> str:
        return f"chat-{self.namespaces[number]}-0"

    def create(self, system: System) -> None:
        for namespace in self.namespaces:
            system.server.ensure_namespace(namespace)
        objects = [item for namespace in self.namespaces for item in self.manifests(namespace)]
        system.admin.create_many([(collection_of(item), item) for item in objects])
        wait_until(
            lambda: served_objects(system.admin) == len(objects), what="all objects to be published", deadline=90
        )

    def manifests(self, namespace: str) -> list[Manifest]:
        return [
            mock_backend(namespace),
            key_policy(namespace, "keys"),
            *(self.route(namespace, number) for number in range(ROUTES)),
            *(self.consumer(namespace, number) for number in range(10)),
        ]

    def route(self, namespace: str, number: int) -> Manifest:
        return route(namespace, f"chat-{number}", models=[f"chat-{namespace}-{number}"])

    def consumer(self, namespace: str, number: int) -> Manifest:
        digest = hashlib.sha256(f"a-key-for-{namespace}-{number}".encode()).hexdigest()
        return consumer(namespace, f"caller-{number}", sha256=digest)
