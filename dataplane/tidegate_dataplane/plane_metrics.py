"""Which figures of a data plane's parts stand in `/metrics`, and what they are called there."""

from collections.abc import Callable

from tidegate_dataplane.audit import AuditLog
from tidegate_dataplane.ledger.ledger import Ledger
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.store.protocol import Store


def read_parts(
    metrics: Metrics,
    *,
    reloader: Reloader,
    ledger: Ledger,
    store: Store | None,
    audit: AuditLog | None,
    ready: Callable[[], bool],
) -> None:
    """Have the figures read whenever somebody asks for metrics. `store` and `audit` are None where there is none."""
    shared = ledger.shared
    metrics.read_gauges(
        lambda: {
            "tidegate_revision": reloader.revision,
            "tidegate_ready": float(ready()),
            "tidegate_ledger_counters": ledger.counters,
            "tidegate_ledger_reservations": ledger.outstanding,
            "tidegate_store_connected": 1.0 if store is None else float(store.state.connected),
            "tidegate_load_seconds": 0.0 if reloader.loaded is None else reloader.loaded.seconds,
            "tidegate_audit_seq": 0 if audit is None else audit.head.seq,
            "tidegate_audit_waiting": 0 if audit is None else audit.waiting,
            "tidegate_audit_failing": 0 if audit is None else float(bool(audit.failure)),
        }
    )
    metrics.read_counters(
        lambda: {
            "tidegate_snapshots_refused": reloader.refusals,
            "tidegate_ledger_overshoot_tokens": ledger.overshoot_tokens,
            "tidegate_ledger_overage_microdollars": ledger.overage,
            "tidegate_ledger_unchecked": 0 if shared is None else shared.degraded,
            "tidegate_store_failures": 0 if store is None else store.state.opened,
            "tidegate_audit_written": 0 if audit is None else audit.written,
            "tidegate_audit_dropped": 0 if audit is None else audit.dropped,
        }
    )
