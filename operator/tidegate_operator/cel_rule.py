"""Evaluates one rule of `x-kubernetes-validations`, for the compiler and for the offline judgement alike."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import cel

_HAS = re.compile(r"\bhas\(self\.([A-Za-z][A-Za-z0-9]*)\)")


def rule_holds(rule: str, value: Any) -> bool | None:
    """Whether the rule holds with `self` bound to `value` (JSON data, with defaults); None: it cannot be evaluated."""
    asked = _presence_of(rule)
    if asked is not None and isinstance(value, Mapping):
        return _holds_with(rule, tuple([name for name in asked if name in value]))
    return _holds(rule, value)


def _holds(rule: str, value: Any) -> bool | None:
    try:
        return _program(rule).execute({"self": value}) is True
    except (ValueError, TypeError, RuntimeError):
        return None


@cache
def _presence_of(rule: str) -> tuple[str, ...] | None:
    """The fields that a rule asks for, when all that it asks of `self` is whether they are there; else None."""
    rest = _HAS.sub("", rule)
    return None if "self" in rest else tuple(dict.fromkeys(_HAS.findall(rule)))


@cache
def _holds_with(rule: str, present: tuple[str, ...]) -> bool | None:
    # To hand a map to the CEL library costs far more than to look a handful of answers up.
    return _holds(rule, dict.fromkeys(present, True))


@cache
def _program(rule: str) -> cel.Program:
    return cel.compile(rule)
