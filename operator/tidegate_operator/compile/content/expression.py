"""Checks CEL expressions with the compiler that the data planes use."""

from tidegate_dataplane.expressions import ExpressionError, ValueKind, compile_expression, compile_value
from tidegate_dataplane.snapshot.entries import ClaimMapping
from tidegate_operator.compile.problems import Problems


def check_expression(text: str, field: str, problems: Problems, *, by_target: bool = False) -> None:
    """Note a problem when a data plane could not compile `text`; `by_target` if it may look at the backend."""
    try:
        compile_expression(text, by_target=by_target)
    except ExpressionError as error:
        problems.add(field, str(error))


def check_mapping(mapping: ClaimMapping, field: str, problems: Problems) -> None:
    """Note every expression of a claim mapping that a data plane could not compile."""
    texts = {name: getattr(mapping, name) for name in ("name", "namespace", "team", "tier", "roles")}
    texts |= {f"attributes.{name}": text for name, text in mapping.attributes.items()}
    for name, text in texts.items():
        if text:
            _check_value(text, ValueKind.TEXTS if name == "roles" else ValueKind.TEXT, f"{field}.{name}", problems)


def _check_value(text: str, kind: ValueKind, field: str, problems: Problems) -> None:
    try:
        compile_value(text, kind)
    except ExpressionError as error:
        problems.add(field, str(error))
