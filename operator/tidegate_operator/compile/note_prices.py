"""Notes for budgets that refuse calls because nobody knows what they cost. Valid, and perhaps not meant."""

from collections.abc import Iterator
from functools import cache, lru_cache

from tidegate_dataplane.expressions import ExpressionError, compile_measure
from tidegate_dataplane.expressions.environment import USAGE
from tidegate_dataplane.pricing.lookup import Table
from tidegate_dataplane.snapshot.entries import BackendEntry, Provider, QuotaEntry, RouteEntry, Unit
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.parents import applying
from tidegate_operator.compile.prices import price_table
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import Kind, ObjectKey

_NAMED = 3


def note_prices(forms: Forms, out: Lowered) -> None:
    """Note for quotas that insist on a price which models of their routes have none."""
    insisting = {key: position for key, entry in forms.quotas.items() if (position := _insists(entry)) is not None}
    if not insisting:
        return
    unpriced: dict[ObjectKey, set[tuple[str, str]]] = {}
    for entry in out.entries.values():
        if not isinstance(entry, RouteEntry) or not entry.quotas:
            continue
        if concerned := applying(entry, forms.quotas) & insisting.keys():
            found = set(_unpriced(entry, forms))
            for key in concerned:
                unpriced.setdefault(key, set()).update(found)
    for key, models in unpriced.items():
        if models:
            position = insisting[key]
            message = _message(sorted(models), forms.quotas[key].limits[position].unit)
            note = Finding(Reason.NO_PRICE, f"spec.limits[{position}]", message)
            out.notes[key] = sort_findings([*out.notes.get(key, ()), note])


def _insists(quota: QuotaEntry) -> int | None:
    """The place of a limit that refuses what has no price. An expression over cost takes the default of others."""
    costs = [(at, limit.default_price) for at, limit in enumerate(quota.limits) if limit.unit is Unit.COST]
    if costs:
        return next((at for at, default in costs if default is None), None)
    return next((at for at, limit in enumerate(quota.limits) if _reads_cost(limit.expression)), None)


@lru_cache(maxsize=1024)
def _reads_cost(expression: str) -> bool:
    if not expression:
        return False
    try:
        return compile_measure(expression).reads(USAGE, "cost")
    except ExpressionError:  # told of elsewhere
        return False


def _unpriced(route: RouteEntry, forms: Forms) -> Iterator[tuple[str, str]]:
    """Backends and models; what a pattern stands for is known only when a call comes."""
    for target in route.targets:
        backend = forms.backends.get(ObjectKey(Kind.BACKEND, *target.backend.split("/", 1)))
        if backend is None:
            continue
        asked = (name for name in route.models if not name.endswith("*"))
        for model in (target.model,) if target.model else asked:
            if not _priced(backend, model):
                yield target.backend, model


def _priced(backend: BackendEntry, model: str) -> bool:
    if model in backend.prices:
        return True
    table = _table(backend.provider)
    return table is not None and table.find(model, backend.versions.get(model, "")) is not None


@cache
def _table(provider: Provider) -> Table | None:
    table = price_table(provider)
    return None if table is None else Table(table)


def _message(models: list[tuple[str, str]], unit: Unit) -> str:
    named = ", ".join(f"{model} of AIBackend {backend}" for backend, model in models[:_NAMED])
    more = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
    otherwise = ", or give this limit a defaultPrice" if unit is Unit.COST else ""
    return (
        f"nobody knows what {named}{more} cost{'s' if len(models) == 1 else ''}, so calls are refused: "
        f"name it in spec.models[].price there{otherwise}"
    )
