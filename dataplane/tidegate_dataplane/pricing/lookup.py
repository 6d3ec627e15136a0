"""Which price holds for a model of a backend.

The backend's own price first; then its provider's table: an exact name before the longest `prefix*`. Where the backend
declares a version of the model, the table is asked for the version by itself, for `name-version`, and then for the
name: so a deployment of any name finds its price by the version that it declares.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from tidegate_dataplane.pricing.price import Price, PriceSource, lower_price
from tidegate_dataplane.snapshot.entries import BackendEntry, PriceTable, Provider

HASH_DIGITS: Final = 16
"""So many hex digits of a hash go into an audit record."""
_REMEMBERED: Final = 4096


class Priced(Protocol):
    """A backend: its key, its entry, and its own prices by model."""

    @property
    def key(self) -> str: ...
    @property
    def entry(self) -> BackendEntry: ...
    @property
    def prices(self) -> Mapping[str, Price]: ...


class Table:
    """A provider's table, made ready."""

    __slots__ = ("_exact", "_prefixes", "entry")

    def __init__(self, entry: PriceTable) -> None:
        self.entry = entry
        short = entry.hash[:HASH_DIGITS]
        lowered = {name: lower_price(each, PriceSource.TABLE, short) for name, each in entry.models.items()}
        self._exact = {name: price for name, price in lowered.items() if not name.endswith("*")}
        prefixes = sorted((name for name in lowered if name.endswith("*")), key=len, reverse=True)
        self._prefixes = tuple((name[:-1], lowered[name]) for name in prefixes)

    def find(self, model: str, version: str) -> Price | None:
        """The price of a model, whose declared version may be ""."""
        name, version = model.lower(), version.lower()
        names = (version, f"{name}-{version}", name) if version else (name,)
        for each in names:
            if each in self._exact:
                return self._exact[each]
        for each in names:
            for prefix, price in self._prefixes:
                if each.startswith(prefix):
                    return price
        return None


class Prices:
    """All tables of a snapshot. What was found is remembered: one lookup of a dictionary for each call."""

    __slots__ = ("_found", "tables")

    def __init__(self, tables: Mapping[Provider, Table]) -> None:
        self.tables = tables
        self._found: dict[tuple[str, str], Price | None] = {}

    def of(self, backend: Priced, model: str) -> Price | None:
        """What `model` costs at `backend`; None when nobody says."""
        key = (backend.key, model)
        try:
            return self._found[key]
        except KeyError:
            pass
        if len(self._found) >= _REMEMBERED:
            self._found.clear()  # callers may name models that there are not, as many as they like
        price = self._found[key] = self._find(backend, model)
        return price

    def _find(self, backend: Priced, model: str) -> Price | None:
        own = backend.prices.get(model)
        if own is not None:
            return own
        table = self.tables.get(backend.entry.provider)
        return None if table is None else table.find(model, backend.entry.versions.get(model, ""))


def gathered(former: Prices, tables: Iterable[PriceTable]) -> Prices:
    """Prices of `tables`, with nothing remembered; a table that is the same as in `former` is not made ready again."""
    ready: dict[Provider, Table] = {}
    for entry in tables:
        known = former.tables.get(entry.provider)
        ready[entry.provider] = known if known is not None and known.entry == entry else Table(entry)
    return Prices(ready)


NO_PRICES: Final = Prices({})
