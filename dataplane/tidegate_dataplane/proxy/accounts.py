"""The end of every request: the ledger is settled, the audit line written, the metrics counted. Exactly once, whatever
happened."""

from datetime import UTC, datetime
from functools import partial
from time import perf_counter

from tidegate_dataplane.audit import AuditGate, AuditLog, AuditRecord, AuditTarget, AuditTokens
from tidegate_dataplane.audit.record import MAX_HOST, MAX_PATH
from tidegate_dataplane.engine.decision import key_name, methods_of
from tidegate_dataplane.errors import Refusal
from tidegate_dataplane.ledger.demand import Amounts, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.charging import Charge, charge_of
from tidegate_dataplane.proxy.exchange import Exchange, Outcome
from tidegate_dataplane.proxy.meter import NO_METER, Meter
from tidegate_dataplane.proxy.metering import CallMeter
from tidegate_dataplane.proxy.reserving import Held, Reserver
from tidegate_dataplane.proxy.usage import ESTIMATED
from tidegate_dataplane.trial import Trial

_STATUS = {status: str(status) for status in range(100, 600)}
_NO_ROUTE = "(none)"


class Accounts:
    """Closes requests. `audit` is None when no audit log is kept. `gate` says whether calls may go upstream."""

    def __init__(
        self, gateway: str, ledger: Ledger, reserver: Reserver, audit: AuditLog | None, metrics: Metrics
    ) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._reserver = reserver
        self._audit = audit
        self._metrics = metrics
        self._trial: Trial | None = None
        self.audited = audit is not None
        self.gate = AuditGate() if audit is None else audit.gate

    def meter(self, exchange: Exchange, held: Held, input: int) -> Meter:
        """What tells the ledger of an answer before it is delivered; nothing where nothing is limited."""
        if not held.limited:
            return NO_METER
        return CallMeter(self._ledger, exchange, held, partial(self.settle, exchange, held, input))

    def settle(self, exchange: Exchange, held: Held, input: int) -> None:
        """Charge what was used, once; `input` is the estimate of the prompt.

        A request that no provider took costs nothing. One that was cut off before a report is charged its prompt,
        for the provider has read it.
        """
        if held.settled:
            return
        held.settled = True
        tokens = exchange.tokens
        if tokens is None and exchange.attempts and exchange.outcome is Outcome.CALLER_GONE:
            tokens = exchange.tokens = Usage(input, 0, source=ESTIMATED)
        exchange.default_price = held.default
        refused = 400 <= exchange.status < 500 and exchange.outcome is Outcome.UPSTREAM_FAILED
        if tokens is None and not refused:
            for reservation in held.reservations:
                self._ledger.release(reservation)
                self._reserver.give_back(reservation)
            return
        used = self._used(exchange, held, tokens)
        if tokens is not None and exchange.outcome is Outcome.SERVED:
            self._reserver.learn(exchange, tokens.output)
        answered = "" if exchange.target is None else exchange.target.backend.key
        exchange.overage += self._ledger.settle(held.call, used, exchange.arrived)
        for backend, reservation in held.backends.items():
            if backend == answered:
                exchange.overage += self._ledger.settle(reservation, used, exchange.arrived)
            else:
                self._ledger.release(reservation)
        for reservation in held.reservations:
            self._reserver.give_back(reservation)

    def _used(self, exchange: Exchange, held: Held, tokens: Usage | None) -> Amounts:
        milliseconds = int((perf_counter() - held.since) * 1000)
        if tokens is None:
            return amounts_of(milliseconds=milliseconds)
        charge = charge_of(exchange, held.default) if held.priced else None
        spent = 0 if charge is None else charge.cost or 0
        return amounts_of(tokens.input, tokens.output, cached=tokens.cached, cost=spent, milliseconds=milliseconds)

    def count_trials(self, trial: Trial) -> None:
        """Count calls for `trial` too, while anything is tried."""
        self._trial = trial

    def close(self, exchange: Exchange) -> None:
        """Count and write down."""
        if self._trial is not None and self._trial.number:
            self._trial.count(exchange)
        charge = charge_of(exchange, exchange.default_price)
        self._count(exchange, charge)
        if self._audit is not None:
            self._audit.add(self._record(exchange, charge))

    def refused(self, refusal: Refusal) -> None:
        """Count and write down what the HTTP layer refused by itself, of which no more is known."""
        failure = refusal.failure
        self._metrics.requests.add((_NO_ROUTE, "", _STATUS.get(failure.status, "other"), failure.code))
        if self._audit is not None:
            record = AuditRecord(
                time=datetime.now(UTC),
                request_id=refusal.request_id,
                outcome=Outcome.REJECTED,
                status=int(failure.status),
                gateway=self._gateway,
                revision=0,
                latency_ms=0.0,
                bytes_in=0,
                bytes_out=len(failure.body()),
                code=failure.code,
                address=refusal.address,
                host=refusal.host[:MAX_HOST],
                path=refusal.path[:MAX_PATH],
            )
            self._audit.add(record)

    def _count(self, exchange: Exchange, charge: Charge | None) -> None:
        metrics = self._metrics
        decision = exchange.decision
        route = _NO_ROUTE if decision is None or decision.route is None else decision.route.key
        operation = exchange.operation or ""
        metrics.requests.add((route, operation, _STATUS.get(exchange.status, "other"), exchange.code))
        if exchange.decided_seconds:
            metrics.decision_seconds.observe((), exchange.decided_seconds)
        if exchange.attempts:
            metrics.upstream_seconds.observe((route,), exchange.upstream_seconds)
        tokens = exchange.tokens
        if tokens is not None:
            metrics.tokens.add((route, "input", tokens.source), tokens.input)
            metrics.tokens.add((route, "output", tokens.source), tokens.output)
        if charge is not None and exchange.target is not None:
            backend = exchange.target.backend.key
            if charge.cost is None:
                metrics.unpriced.add((route, backend))
            else:
                metrics.cost.add((route, backend, charge.source), charge.cost)
        if decision is not None:
            for ref in decision.shadow:
                metrics.shadow.add((f"{ref.kind} {ref.key}", ref.rule))

    def _record(self, exchange: Exchange, charge: Charge | None) -> AuditRecord:
        decision = exchange.decision
        route = None if decision is None else decision.route
        consumer = None if decision is None else decision.consumer
        model = "" if exchange.prompt is None else exchange.prompt.model
        target, tokens = exchange.target, exchange.tokens
        asked = "" if target is None else target.model or model
        identity = None if decision is None else decision.identity
        return AuditRecord(
            time=datetime.fromtimestamp(exchange.arrived, UTC),
            request_id=exchange.request_id,
            outcome=exchange.outcome,
            status=exchange.status,
            gateway=self._gateway,
            revision=exchange.revision,
            latency_ms=_milliseconds(perf_counter() - exchange.started),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            code=exchange.code,
            consumer="" if consumer is None else consumer.key,
            team="" if consumer is None else consumer.team,
            tier="" if consumer is None else consumer.tier,
            key=key_name(identity),
            credentials=() if identity is None else identity.names,
            address=exchange.address,
            host=exchange.host[:MAX_HOST],
            path=exchange.path[:MAX_PATH],
            route="" if route is None else route.key,
            target=None if target is None else AuditTarget(target.backend.key, asked),
            version="" if target is None else target.backend.entry.versions.get(asked, ""),
            operation=exchange.operation,
            model=model,
            method=methods_of(identity),
            subscription="" if decision is None else decision.subscription,
            plan="" if decision is None else decision.plan,
            rule=exchange.rule,
            why=exchange.why,
            risk=None if decision is None else decision.risk,
            shadow=() if decision is None else decision.shadow,
            tokens=None if tokens is None else _audited(tokens),
            cost=None if charge is None else charge.cost,
            price_source="" if charge is None else charge.source,
            price_table="" if charge is None else charge.table,
            overage=exchange.overage,
            decision_ms=_milliseconds(exchange.decided_seconds),
            upstream_ms=_milliseconds(exchange.upstream_seconds),
            attempts=exchange.attempts,
            streamed=exchange.streamed,
        )


def _audited(used: Usage) -> AuditTokens:
    return AuditTokens(
        used.input,
        used.output,
        used.source,
        cached=used.cached,
        cache_write=used.cache_write,
        reasoning=used.reasoning,
        input_audio=used.input_audio,
        output_audio=used.output_audio,
        input_image=used.input_image,
        output_image=used.output_image,
        images=used.images,
        service="" if used.service == "default" else used.service,
    )


def _milliseconds(seconds: float) -> float:
    """With three digits."""
    return int(seconds * 1_000_000) / 1000
