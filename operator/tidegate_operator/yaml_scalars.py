"""What a plain YAML scalar means to kubectl: YAML 1.1 as read by sigs.k8s.io/yaml, which then writes JSON.

PyYAML's own resolver differs (`y` is text to it, `1e3` is text, `1:20` is a number), so this is a table of our own.
"""

import math
import re

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NOT_FINITE = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|(0[oO]?[0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 400
"""Longer digits are text: no number that a field takes has as many, and int() is quadratic."""
_INT_LIMIT = 1 << 64
_WHOLE_FLOAT_LIMIT = 1e21
"""Below it Go writes a whole float without an exponent, so that JSON shows an integer."""


def plain_value(text: str) -> str | int | float | bool | None:
    """The JSON value of an unquoted scalar. A number that is not finite is returned as such; JSON has none."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if not text[0].isascii() or text[0] not in "+-.0123456789" or len(text) > _MAX_DIGITS:
        return text
    digits = text if text[0] == "." else text.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    return _number(float(digits)) if _FLOAT.fullmatch(digits) else text


def _integer(digits: str) -> int | None:
    match = _INTEGER.fullmatch(digits)
    if match is None:
        return None
    sign, hexadecimal, binary, octal, decimal = match.groups()
    if hexadecimal or binary:
        value = int(hexadecimal or binary, 0)
    elif octal:
        value = int(octal.lower().replace("o", ""), 8)
    else:
        value = int(decimal)
    if value >= _INT_LIMIT:
        return None
    return -value if sign == "-" else value


def _number(value: float) -> int | float:
    whole = math.isfinite(value) and value.is_integer() and abs(value) < _WHOLE_FLOAT_LIMIT
    return int(value) if whole else value
