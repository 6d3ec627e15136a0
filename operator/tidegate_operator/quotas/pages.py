"""What a data plane answers at `/-/quotas`, as far as it is read."""

import msgspec


class Row(msgspec.Struct, rename="camel", frozen=True):
    """One of the fullest counters of a limit, in the units of the ledger. `resets`: seconds since the epoch, or 0."""

    scope: str
    used: int
    amount: int
    resets: int = 0


class LimitPage(msgspec.Struct, rename="camel", frozen=True):
    """One limit of a quota ("namespace/name")."""

    quota: str
    limit: str
    unit: str
    accuracy: str
    counters: int
    top: tuple[Row, ...] = ()


class AlertPage(msgspec.Struct, rename="camel", frozen=True):
    """A threshold that was crossed; `id` is the same from every data plane."""

    id: str
    quota: str
    limit: str
    unit: str
    scope: str
    threshold: int
    used: int
    amount: int
    window_end: int
    at: int


class NotedAlert(msgspec.Struct, frozen=True):
    """With its place in the list of its data plane."""

    seq: int
    alert: AlertPage


class StorePage(msgspec.Struct, frozen=True):
    """How the shared store fares; `since` in seconds since the epoch."""

    connected: bool
    reason: str = ""
    since: int = 0


class Page(msgspec.Struct, frozen=True):
    """The whole answer. Alerts are numbered anew when `since` is another."""

    now: int
    since: int
    seq: int
    store: StorePage | None = None
    limits: tuple[LimitPage, ...] = ()
    alerts: tuple[NotedAlert, ...] = ()
