"""The traffic port: the order in which a request goes through the gateway.

A raw ASGI application. Routing is the engine's, by host, path, operation and model; a router in front would only
repeat it.
"""

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from contextlib import nullcontext
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from tidegate_dataplane.authenticate.authenticator import Authenticator
from tidegate_dataplane.behaviour import Behaviour
from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, Denial, Step
from tidegate_dataplane.engine.explain_text import deciding
from tidegate_dataplane.engine.introspecting import asked_about, asked_by_all, asked_instead
from tidegate_dataplane.engine.path import LISTING, parse_path
from tidegate_dataplane.errors import (
    API_ERROR,
    REFUSAL,
    Failure,
    audit_unavailable,
    client_certificate_refused,
    internal,
)
from tidegate_dataplane.key_uses import KeyUses
from tidegate_dataplane.ledger.demand import Excess
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pressure.gate import Shed
from tidegate_dataplane.pressure.turns import Turns
from tidegate_dataplane.proxy.accounts import Accounts
from tidegate_dataplane.proxy.exchange import Exchange, Outcome, Send
from tidegate_dataplane.proxy.forward import Forwarder
from tidegate_dataplane.proxy.intake import CallerGone, Prompt, Receive, read_body, read_prompt
from tidegate_dataplane.proxy.keys import Presented, presented_keys
from tidegate_dataplane.proxy.limits import failure_of
from tidegate_dataplane.proxy.listing import Lister, listing_call
from tidegate_dataplane.proxy.relay import Relay
from tidegate_dataplane.proxy.reserving import Held, Refused, Reserver
from tidegate_dataplane.proxy.room import Room, Share
from tidegate_dataplane.proxy.shedding import OVERLOADED, Shedding
from tidegate_dataplane.proxy.usage import reserve_output
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import ANONYMOUS, NOBODY, Identity, RuleRef
from tidegate_dataplane.settings import Limits, Pressure
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_dataplane.transport.connections import Connections

_log = logging.getLogger(__name__)


class Traffic:
    """The ASGI application for callers. `body_bytes` bounds a request's body, `strangers_bytes` those of all callers
    together who have not proved who they are; without `connections`, callers come directly and show no certificates."""

    def __init__(
        self,
        *,
        reloader: Reloader,
        reserver: Reserver,
        forwarder: Forwarder,
        relay: Relay,
        accounts: Accounts,
        metrics: Metrics,
        body_bytes: int,
        authenticator: Authenticator,
        behaviour: Behaviour,
        key_uses: KeyUses,
        turns: Turns | None = None,
        shedding: Shedding | None = None,
        connections: Connections | None = None,
        strangers_bytes: int = Limits().strangers_bytes,
    ) -> None:
        self._room = Room(strangers_bytes)
        self._lister = Lister()
        self._reloader = reloader
        self._reserver = reserver
        self._forwarder = forwarder
        self._relay = relay
        self._accounts = accounts
        self._audit_gate = accounts.gate
        self._metrics = metrics
        self._body_bytes = body_bytes
        self._connections = connections
        self._authenticator = authenticator
        self._behaviour = behaviour
        self._key_uses = key_uses
        self._turns = turns or Turns(Pressure())
        self._shedding = shedding or Shedding()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, send, self._connections)
        self._metrics.in_flight += 1
        try:
            await self._serve(exchange, scope, receive)
        except Failure as failure:
            if exchange.outcome is Outcome.SERVED:
                ours = failure.status >= 500 and failure.code != OVERLOADED
                exchange.outcome = Outcome.FAILED if ours else Outcome.REJECTED
            await exchange.fail(failure)
        except (CallerGone, asyncio.CancelledError):
            exchange.gone(scope.get(REFUSAL))
        except Exception:  # noqa: BLE001 - the last line of defence; the log gets the cause
            _log.exception("request %s failed", exchange.request_id)
            exchange.outcome = Outcome.FAILED
            await exchange.fail(internal())
        finally:
            self._metrics.in_flight -= 1
            self._accounts.close(exchange)

    async def _serve(self, exchange: Exchange, scope: Mapping[str, Any], receive: Receive) -> None:
        runtime = self._reloader.runtime
        if runtime is None:
            raise Failure(
                503, "not_ready", "The gateway has no configuration yet. Retry.", type=API_ERROR, headers=_SOON
            )
        exchange.revision = runtime.revision
        if exchange.certificate_fault is not None:
            exchange.outcome = Outcome.DENIED
            self._metrics.authentication_failures.add(
                (f"client_certificate_{exchange.certificate_fault.name.lower()}",)
            )
            raise client_certificate_refused()
        base, operation = parse_path(exchange.path)
        if operation is None:
            message = f"Unknown path {exchange.path[:128]}. Use for example /v1/chat/completions."
            raise Failure(404, "unknown_url", message)
        wanted = "GET" if operation is LISTING else "POST"
        if scope["method"] != wanted:
            message = f"{scope['method']} is not allowed here; use {wanted}."
            raise Failure(405, "method_not_allowed", message, headers=((b"allow", wanted.encode()),))
        presented = presented_keys(exchange.headers)
        # Before the body is read: a wrong key costs us nothing more.
        identity = await self._identify(exchange, runtime, presented)
        if operation is LISTING:
            await self._list(exchange, runtime, base, presented, identity)
        else:
            await self._infer(exchange, receive, runtime, base, operation, presented, identity)

    async def _identify(self, exchange: Exchange, runtime: Runtime, presented: Presented) -> Identity | None:
        """Who calls; None for a token of which only the route can tell."""
        exchange.revision = runtime.revision
        identity = self._authenticator.at_once(runtime, exchange, presented)
        if identity is None:
            identity = await self._authenticator.by_token(runtime, exchange, presented)
        if isinstance(identity, Denial):
            raise self._denied(exchange, Decision(identity), identity)
        return identity

    async def _list(
        self, exchange: Exchange, runtime: Runtime, base: str, presented: Presented, identity: Identity | None
    ) -> None:
        call = listing_call(exchange, base)
        identity = identity or await self._introspected(exchange, runtime, presented, asked_by_all(runtime))
        found = await self._lister.answer(runtime, call, identity, exchange.arrived)
        if isinstance(found, Denial):
            raise self._denied(exchange, Decision(found), found)
        self._key_uses.note(identity, exchange.arrived)
        await exchange.respond(200, [(b"content-type", b"application/json")], found)

    async def _introspected(
        self, exchange: Exchange, runtime: Runtime, presented: Presented, among: frozenset[str]
    ) -> Identity:
        """A token that no key proved, now that it is known whom it is meant for."""
        found = await self._authenticator.by_token(runtime, exchange, presented, among)
        if isinstance(found, Identity):
            return found
        denial = found or denials.UNKNOWN_KEY
        raise self._denied(exchange, Decision(denial), denial)

    async def _read(
        self,
        exchange: Exchange,
        receive: Receive,
        runtime: Runtime,
        base: str,
        operation: Operation,
        presented: Presented,
        identity: Identity | None,
        share: Share | None,
    ) -> tuple[Runtime, Call, Prompt, Identity]:
        """What is asked, and by whom, now that the body is here."""
        body = await read_body(receive, exchange.headers, self._body_bytes, share)
        exchange.bytes_in = len(body)
        if not self._turns.begin():
            await self._wait_for_turn(exchange, identity)
        if (latest := self._reloader.runtime) is not runtime and latest is not None:
            # A body may take its time, and a turn: who was revoked meanwhile must not come in by having begun before.
            runtime, identity = latest, await self._identify(exchange, latest, presented)
        prompt = exchange.prompt = read_prompt(body, operation)
        call = _call(exchange, prompt, base, operation, body)
        if identity is None:
            identity = await self._introspected(exchange, runtime, presented, asked_about(runtime, call))
        return runtime, call, prompt, identity

    async def _wait_for_turn(self, exchange: Exchange, identity: Identity | None) -> None:
        consumer = ANONYMOUS if identity is None else identity.consumer
        try:
            await self._turns.wait(consumer.key or exchange.address, consumer.entry.priority)
        except Shed as shed:
            raise self._shedding.by_process(shed) from None

    async def _infer(
        self,
        exchange: Exchange,
        receive: Receive,
        runtime: Runtime,
        base: str,
        operation: Operation,
        presented: Presented,
        identity: Identity | None,
    ) -> None:
        exchange.operation = operation
        stranger = identity is None or identity is NOBODY
        with self._room.share() if stranger else _NO_SHARE as share:
            runtime, call, prompt, identity = await self._read(
                exchange, receive, runtime, base, operation, presented, identity, share
            )
        started = perf_counter()
        decision = decide_for(runtime, call, identity, exchange.arrived, observed=self._behaviour)
        if decision.denial is not None and (among := asked_instead(runtime, call, identity)):
            decision, identity = await self._by_others(exchange, runtime, call, presented, among, decision, identity)
        exchange.decision = decision
        exchange.prices = runtime.prices
        # A provider that could not be asked decided nothing that could be decided again: it has no identity.
        if decision.denial is not None and self._accounts.audited and decision.identity not in (None, NOBODY):
            exchange.why = self._why(runtime, call, identity, exchange.arrived, decision.denial)
        if decision.risk is not None:
            self._behaviour.learn(call, decision, exchange.arrived)
        if decision.denial is not None:
            exchange.decided_seconds = perf_counter() - started
            raise self._denied(exchange, decision, decision.denial)
        self._key_uses.note(identity, exchange.arrived)
        if self._audit_gate.closed:
            raise audit_unavailable()
        held = await self._reserve(exchange, runtime, decision, call)
        try:
            if (latest := self._reloader.runtime) is not runtime and latest is not None:
                await self._still_let_in(exchange, latest, call, presented)
            if decision.grant:
                self._behaviour.use(decision.grant, exchange.arrived)
            exchange.decided_seconds = perf_counter() - started
            await self._forward(exchange, prompt, operation, decision, held, call.prompt_tokens)
        except (CallerGone, asyncio.CancelledError):
            exchange.gone()
            await self._relay.charge_prompt(exchange, prompt, operation)
            raise
        finally:
            self._accounts.settle(exchange, held, call.prompt_tokens)

    async def _still_let_in(self, exchange: Exchange, runtime: Runtime, call: Call, presented: Presented) -> None:
        """A call may have waited long for a quota: who was revoked meanwhile must not come in. Raises Failure."""
        identity = await self._identify(exchange, runtime, presented)
        if identity is None:
            identity = await self._introspected(exchange, runtime, presented, asked_about(runtime, call))
        decision = decide_for(runtime, call, identity, exchange.arrived, observed=self._behaviour)
        if decision.denial is not None and (among := asked_instead(runtime, call, identity)):
            decision, identity = await self._by_others(exchange, runtime, call, presented, among, decision, identity)
        if decision.denial is not None:
            raise self._denied(exchange, decision, decision.denial)

    async def _by_others(
        self,
        exchange: Exchange,
        runtime: Runtime,
        call: Call,
        presented: Presented,
        among: frozenset[str],
        refused: Decision,
        identity: Identity,
    ) -> tuple[Decision, Identity]:
        """A refused call decided again by what the route's own providers say of its token."""
        found = await self._authenticator.otherwise(runtime, exchange, presented, among)
        if isinstance(found, Identity):
            return decide_for(runtime, call, found, exchange.arrived, observed=self._behaviour), found
        if found.retry_after is not None and refused.denial is not None and refused.denial.status == 401:
            return Decision(found), identity
        return refused, identity

    async def _forward(
        self,
        exchange: Exchange,
        prompt: Prompt,
        operation: Operation,
        decision: Decision,
        held: Held,
        input: int,
    ) -> None:
        route = decision.route
        if route is None:
            raise RuntimeError("a call was let in without a route")
        exchange.rule = decision.rule
        try:
            answer = await self._forwarder.ask(exchange, prompt, operation, route, held.order)
            meter = self._accounts.meter(exchange, held, input)
            await self._relay.pass_on(exchange, prompt, operation, route, answer, input, meter)
        except Failure as failure:
            exchange.outcome = Outcome.REJECTED if failure.code == OVERLOADED else Outcome.UPSTREAM_FAILED
            raise
        finally:
            exchange.leave()

    async def _reserve(self, exchange: Exchange, runtime: Runtime, decision: Decision, call: Call) -> Held:
        found = await self._reserver.reserve(exchange, runtime, call, decision)
        if isinstance(found, Refused):
            raise self._denied(exchange, decision, found.denial, found.excess)
        if found.call.exceeded:
            # Of rate limits that are not obeyed, which are those of Shadow policies, nobody else would tell.
            over = (excess.demand for excess in found.call.exceeded if excess.demand.rate)
            tried = tuple(RuleRef(each.kind, each.object, each.generation, each.name) for each in over)
            exchange.decision = replace(decision, shadow=(*decision.shadow, *tried))
        if found.fallback or found.degraded:
            exchange.mark(found.fallback, degraded=found.degraded)
        return found

    def _why(self, runtime: Runtime, call: Call, identity: Identity, now: float, denial: Denial) -> str:
        """Refusals are decided once more, step by step, before anything is learnt of them: `explain` says the same.

        Not of callers whom nobody knows: a flood of them must cost no more than it has to.
        """
        steps: list[Step] = []
        decide_for(runtime, call, identity, now, steps, observed=self._behaviour)
        return deciding(steps, denial)

    def _denied(self, exchange: Exchange, decision: Decision, denial: Denial, excess: Excess | None = None) -> Failure:
        exchange.decision = decision
        exchange.outcome = Outcome.DENIED
        exchange.rule = denial.rule
        exchange.why = exchange.why or deciding((), denial)
        return failure_of(denial, excess=excess, now=exchange.arrived)


_SOON = ((b"retry-after", b"1"),)
_NO_SHARE = nullcontext()  # who is known needs none


def _call(exchange: Exchange, prompt: Prompt, base: str, operation: Operation, body: bytes) -> Call:
    return Call(
        host=exchange.host,
        path=exchange.path,
        base=base,
        operation=operation,
        model=prompt.model,
        headers=exchange.headers,
        address=exchange.address,
        peer=exchange.peer,
        proxy_headers=exchange.proxy_headers,
        body=body,
        body_bytes=prompt.body_bytes,
        prompt_tokens=prompt.prompt_tokens,
        max_output_tokens=reserve_output(operation, prompt.max_output, prompt.choices),
        images=prompt.choices if operation is Operation.IMAGE else 0,
    )
