"""Putting a data plane's ledger together."""

from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.ledger.journal import Journal
from tidegate_dataplane.ledger.ledger import Ledger
from tidegate_dataplane.ledger.levels import Levels
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.settings import Settings
from tidegate_dataplane.store.protocol import Store
from tidegate_dataplane.store.redis_store import RedisStore


def open_store(settings: Settings) -> tuple[Journal | None, Store | None]:
    """The journal and the shared store, if there is one. Raises JournalError, and OSError when the journal cannot be
    opened."""
    if settings.store is None:
        return None, None
    journal = Journal(settings.journal)
    return journal, RedisStore(settings.store, gateway=settings.gateway, position=journal.position)


def open_ledger(settings: Settings, journal: Journal | None, store: Store | None, alerts: Alerts) -> Ledger:
    """The ledger, which tells `alerts` of what is used."""
    see = Levels(alerts.note).see
    if journal is None or store is None:
        return Ledger(on_level=see)
    return Ledger(SharedLedger(store, journal, on_level=see, replicas=settings.replicas), on_level=see)
