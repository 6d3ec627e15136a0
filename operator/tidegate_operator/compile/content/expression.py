"""Checks CEL expressions with the compiler that the data planes use."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from tidegate_dataplane.expressions import (
    ExpressionError,
    ValueKind,
    compile_expression,
    compile_key,
    compile_measure,
    compile_value,
)
from tidegate_dataplane.expressions.cost import MAPPING_LIMIT, ROUTE_LIMIT
from tidegate_dataplane.snapshot.entries import ClaimMapping
from tidegate_operator.compile.problems import Problems


def check_expression(text: str, field: str, problems: Problems, *, by_target: bool = False) -> None:
    """Note a problem when a data plane could not compile `text`; `by_target` if it may look at the backend."""
    found = _cost(text, by_target=by_target)
    if isinstance(found, str):
        problems.add(field, found)


@lru_cache(maxsize=4096)
def _cost(text: str, *, by_target: bool) -> int | str:
    """What an expression may cost, or what is wrong with it."""
    try:
        return compile_expression(text, by_target=by_target).cost
    except ExpressionError as error:
        return str(error)


def check_cost(rules: Iterable[str], signals: Iterable[str], problems: Problems) -> None:
    """Note when the valid ones of the conditions of one policy may cost more together than a route allows."""
    found = [*(_cost(text, by_target=True) for text in rules), *(_cost(text, by_target=False) for text in signals)]
    total = sum(cost for cost in found if isinstance(cost, int))
    if total > ROUTE_LIMIT:
        problems.add(
            "spec",
            f"all expressions may cost {total} units together, more than {ROUTE_LIMIT}, which the policies on a route "
            "may cost in all: use fewer macros and patterns",
        )


def check_mapping(mapping: ClaimMapping, field: str, problems: Problems) -> None:
    """Note every expression of a claim mapping that a data plane could not compile."""
    texts = {name: getattr(mapping, name) for name in ("name", "namespace", "team", "tier", "roles")}
    texts |= {f"attributes.{name}": text for name, text in mapping.attributes.items()}
    total = 0
    for name, text in texts.items():
        if text:
            total += _value_cost(
                text, ValueKind.TEXTS if name == "roles" else ValueKind.TEXT, f"{field}.{name}", problems
            )
    if total > MAPPING_LIMIT:
        problems.add(
            field,
            f"all expressions may cost {total} units together, more than {MAPPING_LIMIT}: use fewer of filter and map",
        )


def check_key_expression(text: str, field: str, problems: Problems) -> None:
    """Note a problem when `text` yields no text for a call."""
    _note(partial(compile_key, text), field, problems)


def check_usage_expression(text: str, field: str, problems: Problems) -> None:
    """Note a problem when `text` yields no number for what a call used."""
    _note(partial(compile_measure, text), field, problems)


def _note(compiled: Callable[[], object], field: str, problems: Problems) -> None:
    try:
        compiled()
    except ExpressionError as error:
        problems.add(field, str(error))


def _value_cost(text: str, kind: ValueKind, field: str, problems: Problems) -> int:
    try:
        return compile_value(text, kind).cost
    except ExpressionError as error:
        problems.add(field, str(error))
        return 0
