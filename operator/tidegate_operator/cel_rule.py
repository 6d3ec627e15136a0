"""Evaluates one rule of `x-kubernetes-validations`, for the compiler and for the offline judgement alike."""

from functools import cache
from typing import Any

import cel


def rule_holds(rule: str, value: Any) -> bool | None:
    """Whether the rule holds with `self` bound to `value` (JSON data, with defaults); None: it cannot be evaluated."""
    try:
        return _program(rule).execute({"self": value}) is True
    except (ValueError, TypeError, RuntimeError):
        return None


@cache
def _program(rule: str) -> cel.Program:
    return cel.compile(rule)
