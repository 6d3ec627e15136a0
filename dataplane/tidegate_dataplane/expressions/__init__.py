"""CEL expressions of policies: checked against a declared environment when compiled, cheap when evaluated.

Neutral ground: the compiler of the operator judges an expression with the very code that a data plane runs.
"""

from tidegate_dataplane.expressions.errors import EvaluationError, ExpressionError
from tidegate_dataplane.expressions.program import (
    KeyProgram,
    MeasureProgram,
    Program,
    ValueKind,
    ValueProgram,
    compile_expression,
    compile_key,
    compile_measure,
    compile_value,
)

__all__ = [
    "EvaluationError",
    "ExpressionError",
    "KeyProgram",
    "MeasureProgram",
    "Program",
    "ValueKind",
    "ValueProgram",
    "compile_expression",
    "compile_key",
    "compile_measure",
    "compile_value",
]
