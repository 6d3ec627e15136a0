"""The end of every request: the ledger is settled, the audit line written, the metrics counted. Exactly once, whatever
happened."""

from datetime import UTC, datetime
from time import perf_counter

from tidegate_dataplane.audit import AuditLog, AuditRecord, AuditTarget, AuditTokens
from tidegate_dataplane.engine.decision import methods_of
from tidegate_dataplane.ledger.memory import MemoryLedger, Reservation
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.proxy.exchange import Exchange, Outcome
from tidegate_dataplane.proxy.usage import ESTIMATED, Tokens

_STATUS = {status: str(status) for status in range(100, 600)}
_NO_ROUTE = "(none)"


class Accounts:
    """Closes requests. `audit` is None when no audit log is kept."""

    def __init__(self, gateway: str, ledger: MemoryLedger, audit: AuditLog | None, metrics: Metrics) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._audit = audit
        self._metrics = metrics

    def settle(self, exchange: Exchange, reservation: Reservation, input: int) -> None:
        """Charge what was used; `input` is the estimate of the prompt.

        A request that no provider took costs nothing. One that was cut off before a report is charged its prompt,
        for the provider has read it.
        """
        tokens = exchange.tokens
        if tokens is None and exchange.attempts and exchange.outcome is Outcome.CALLER_GONE:
            tokens = exchange.tokens = Tokens(input, 0, ESTIMATED)
        refused = 400 <= exchange.status < 500 and exchange.outcome is Outcome.UPSTREAM_FAILED
        if tokens is None and not refused:
            self._ledger.release(reservation)
            return
        used = (0, 0) if tokens is None else (tokens.input, tokens.output)
        self._ledger.settle(reservation, input_tokens=used[0], output_tokens=used[1], now=exchange.arrived)

    def close(self, exchange: Exchange) -> None:
        """Count and write down."""
        self._count(exchange)
        if self._audit is not None:
            self._audit.add(self._record(exchange))

    def _count(self, exchange: Exchange) -> None:
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
        if decision is not None:
            for ref in decision.shadow:
                metrics.shadow.add((f"{ref.kind} {ref.key}", ref.rule))

    def _record(self, exchange: Exchange) -> AuditRecord:
        decision = exchange.decision
        route = None if decision is None else decision.route
        consumer = None if decision is None else decision.consumer
        model = "" if exchange.prompt is None else exchange.prompt.model
        target, tokens = exchange.target, exchange.tokens
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
            key=exchange.key_name,
            address=exchange.address,
            host=exchange.host,
            path=exchange.path,
            route="" if route is None else route.key,
            target=None if target is None else AuditTarget(target.backend.key, target.model or model),
            operation=exchange.operation,
            model=model,
            method="" if decision is None else methods_of(decision.identity),
            rule=exchange.rule,
            shadow=() if decision is None else decision.shadow,
            tokens=None if tokens is None else AuditTokens(tokens.input, tokens.output, tokens.source),
            upstream_ms=_milliseconds(exchange.upstream_seconds),
            attempts=exchange.attempts,
            streamed=exchange.streamed,
        )


def _milliseconds(seconds: float) -> float:
    """With three digits."""
    return int(seconds * 1_000_000) / 1000
