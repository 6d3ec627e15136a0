"""Writes generated keys into Secrets, while this operator leads.

Before each write the Secret is read from the API server, the step is worked out anew from what is there, and the write
holds only for exactly that version of it. So a lost answer, a late event, a restart, or a second operator that believes
to lead costs a request and never a second rotation. Never logs or reports a key.
"""

import asyncio
import base64
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tidegate_dataplane.apikey import RANDOM_BYTES, issue_key
from tidegate_dataplane.snapshot.entries import ConsumerEntry
from tidegate_operator.compile.issued import read_issued
from tidegate_operator.ingest import SecretObject, decoded, seen_secret
from tidegate_operator.keys.plan import Action, Plan, data_after, make_plan, next_step
from tidegate_operator.kube import API_FAILURES, SECRETS, Api, ApiError
from tidegate_operator.metrics import Metrics
from tidegate_operator.resources import RESOURCES
from tidegate_operator.store import Store
from tidegate_operator.world import Kind, SecretKey

_log = logging.getLogger(__name__)

FIELD_MANAGER = "tidegate-key-issuer"
CONCURRENCY = 4
RETRY_SECONDS = (1, 2, 5, 10, 30, 60, 300)
TOLD_ATTEMPTS = 3
PAUSE_SHARE = 5.0
# The wall clock may be set while this waits for a time of it.
LONGEST_WAIT_SECONDS = 60.0
# A plan for more consumers than this is made in a thread.
OFFLOAD_CONSUMERS = 200
_OPAQUE = "Opaque"


class _Secret(SecretObject):
    immutable: bool | None = None


class NotIssued(Exception):
    """A key cannot be written; the message says why and what to do."""


@dataclass(slots=True)
class _Trouble:
    """A Secret that could not be written: why, how often, and when (of the loop's clock) to try again.

    What may pass by itself is `fleeting`, and told in a status only when it does not.
    """

    message: str
    fleeting: bool
    attempts: int
    again: float


class KeyIssuer:
    """Keeps generated keys as they should be. `run` writes; the other methods only say what may have changed."""

    def __init__(
        self,
        api: Api,
        store: Store,
        *,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        metrics: Metrics,
        on_change: Callable[[], None],
    ) -> None:
        """`now` is in seconds since the epoch. `on_change` is called when the World changed by what was done."""
        self._api = api
        self._store = store
        self._now = now
        self._random = random
        self._metrics = metrics
        self._on_change = on_change
        self._consumers: tuple[ConsumerEntry, ...] | None = None
        self._wakeup = asyncio.Event()
        self._troubles: dict[SecretKey, _Trouble] = {}
        self._planning = 0.0

    def published(self, consumers: tuple[ConsumerEntry, ...]) -> None:
        """Take the consumers in force that have keys to be generated."""
        self._consumers = consumers
        self._wakeup.set()

    @property
    def troubled(self) -> int:
        """How many Secrets could not be written at the last attempt."""
        return len(self._troubles)

    def reset(self) -> None:
        """Leadership was lost: nothing is written any more."""
        self._consumers = None
        self._troubles.clear()

    async def run(self) -> None:
        """Write until cancelled."""
        wait: float | None = None
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._wakeup.wait()
            except TimeoutError:
                _log.debug("looking at generated keys, some may be due")
            self._wakeup.clear()
            try:
                wait = await self._look()
            except Exception:  # noqa: BLE001 - keys that cannot be made must not end the operator
                _log.exception("generating keys failed unexpectedly and will be tried again")
                wait = RETRY_SECONDS[-1]
            # Where ten thousand keys are generated, to look at them all takes half a second: not at every publication.
            await asyncio.sleep(PAUSE_SHARE * self._planning)

    async def _look(self) -> float | None:
        """Do what is due; returns after how many seconds to look again (None: when something has changed)."""
        consumers = self._consumers
        if consumers is None:
            return None
        plan = await self._plan(consumers)
        loop = asyncio.get_running_loop()
        due: defaultdict[SecretKey, list[Action]] = defaultdict(list)
        for action in plan.actions:
            due[action.place.secret].append(action)
        for secret in self._troubles.keys() - due.keys():
            del self._troubles[secret]
        now = loop.time()
        ready = [secret for secret in due if secret not in self._troubles or self._troubles[secret].again <= now]
        for at in range(0, len(ready), CONCURRENCY):
            if self._consumers is None:
                return None
            await asyncio.gather(*(self._settle(secret, due[secret]) for secret in ready[at : at + CONCURRENCY]))
        self._report(plan, due)
        waits = [trouble.again - loop.time() for trouble in self._troubles.values()]
        if plan.next_due is not None:
            waits.append(plan.next_due - self._now())
        if plan.faults:
            waits.append(LONGEST_WAIT_SECONDS)
        return min(max(min(waits), 0.01), LONGEST_WAIT_SECONDS) if waits else None

    async def _plan(self, consumers: tuple[ConsumerEntry, ...]) -> Plan:
        secrets = self._store.secrets()
        loop = asyncio.get_running_loop()
        began = loop.time()
        if len(consumers) > OFFLOAD_CONSUMERS:
            plan = await asyncio.to_thread(make_plan, consumers, secrets, self._now())
        else:
            plan = make_plan(consumers, secrets, self._now())
        self._planning = loop.time() - began
        return plan

    def _report(self, plan: Plan, due: Mapping[SecretKey, Sequence[Action]]) -> None:
        faults = dict(plan.faults)
        for secret, trouble in self._troubles.items():
            if trouble.fleeting and trouble.attempts < TOLD_ATTEMPTS:
                continue
            faults.update({action.key: trouble.message for action in due.get(secret, ())})
        if self._consumers is not None and self._store.set_unissued(faults):
            self._on_change()

    async def _settle(self, secret: SecretKey, actions: Sequence[Action]) -> None:
        try:
            await self._write(secret, actions)
            self._troubles.pop(secret, None)
        except NotIssued as error:
            self._failed(secret, str(error), fleeting=False)
        except ApiError as error:
            # Not the server's own words: those of a validation may quote what was sent.
            why = f"Secret {secret.namespace}/{secret.name} could not be written: {_why(error, secret)}"
            self._failed(secret, why, fleeting=error.status != 403)
        except API_FAILURES as error:
            why = f"the API server cannot be reached ({type(error).__name__}); it will be tried again"
            self._failed(secret, why, fleeting=True)

    def _failed(self, secret: SecretKey, message: str, *, fleeting: bool) -> None:
        known = self._troubles.get(secret)
        attempts = known.attempts + 1 if known is not None else 1
        delay = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
        self._troubles[secret] = _Trouble(message, fleeting, attempts, asyncio.get_running_loop().time() + delay)
        self._metrics.key_failures.inc()
        _log.warning("generating a key failed, next attempt in %g s: %s", delay, message)

    async def _write(self, secret: SecretKey, actions: Sequence[Action]) -> None:
        known = await self._read(secret)
        data = decoded(known.data) if known is not None else {}
        now = self._now()
        changes: dict[str, bytes | None] = {}
        done: list[Action] = []
        for action in actions:
            issued = read_issued(data, action.place.name)
            due = next_step(action.entry, issued, now)
            if due.step is not None and due.at <= now:
                action = replace(action, step=due.step)
                changes |= data_after(action, issued, issue_key(self._random(RANDOM_BYTES)), now)
                done.append(action)
        if done:
            known = await self._send(secret, known, changes, done)
            for action in done:
                self._metrics.keys_issued.labels(action.step.value).inc()
                _log.info("%s: %s, in %s", action.step.value, action.key, action.place)
        if known is not None and self._store.see_secret(seen_secret(known)):
            self._on_change()

    async def _read(self, secret: SecretKey) -> _Secret | None:
        try:
            known = await self._api.get(SECRETS.path(secret.namespace, secret.name), _Secret)
        except ApiError as error:
            if error.missing:
                return None
            raise
        where = f"Secret {secret.namespace}/{secret.name}"
        if known.type != _OPAQUE:
            raise NotIssued(f"{where} is of type {known.type}, and keys are kept in Opaque ones: name another Secret")
        if known.immutable:
            raise NotIssued(f"{where} is immutable: name another Secret, or delete it, and a new one is made")
        if known.metadata.deleted is not None:
            raise NotIssued(f"{where} is being deleted; a new one is made once it is gone")
        return known

    async def _send(
        self, secret: SecretKey, known: _Secret | None, changes: Mapping[str, bytes | None], done: Sequence[Action]
    ) -> _Secret:
        data = {name: None if value is None else base64.b64encode(value).decode() for name, value in changes.items()}
        query = {"fieldManager": FIELD_MANAGER}
        if known is None:
            path = SECRETS.path(secret.namespace)
            answer = await self._api.request("POST", path, body=_new_secret(secret, data, done), query=query)
        else:
            # A merge patch touches no other key of the Secret; with the version it conflicts when anything changed.
            body = {"metadata": {"resourceVersion": known.metadata.resource_version}, "data": data}
            path = SECRETS.path(secret.namespace, secret.name)
            answer = await self._api.request(
                "PATCH", path, body=body, query=query, content_type="application/merge-patch+json"
            )
        return msgspec.json.decode(answer, type=_Secret)


def _new_secret(secret: SecretKey, data: Mapping[str, str | None], done: Sequence[Action]) -> dict[str, Any]:
    """A Secret that goes with the consumers that it was made for."""
    kind = RESOURCES[Kind.CONSUMER]
    owners = {action.source.uid: action.source.name for action in done}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": _OPAQUE,
        "metadata": {
            "name": secret.name,
            "namespace": secret.namespace,
            "labels": {"app.kubernetes.io/managed-by": "tidegate"},
            "ownerReferences": [
                {"apiVersion": kind.api_version, "kind": kind.kind, "name": name, "uid": uid}
                for uid, name in owners.items()
            ],
        },
        "data": {name: value for name, value in data.items() if value is not None},
    }


def _why(error: ApiError, secret: SecretKey) -> str:
    if error.status == 403:
        return (
            f"the operator may not create and patch Secrets in namespace {secret.namespace}: apply "
            "charts/tidegate/rbac/key-issuer.yaml, or bind its ClusterRole tidegate-key-issuer in that namespace"
        )
    if error.conflict:
        return "somebody else wrote it at the same moment; it will be tried again"
    return f"the API server answered {error.status} {error.reason}; it will be tried again"
