"""Checks the CEL expressions of authorization rules with the compiler that the data planes use."""

from tidegate_dataplane.expressions import ExpressionError, compile_expression
from tidegate_operator.compile.problems import Problems


def check_expression(text: str, field: str, problems: Problems) -> None:
    """Note a problem when a data plane could not compile `text`."""
    try:
        compile_expression(text)
    except ExpressionError as error:
        problems.add(field, str(error))
