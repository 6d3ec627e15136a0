"""Compiling an expression into a Program, and evaluating it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import cel

from tidegate_dataplane.expressions.clock import accessor
from tidegate_dataplane.expressions.environment import NOW, SAMPLE_NOW, SAMPLES
from tidegate_dataplane.expressions.errors import EvaluationError, ExpressionError
from tidegate_dataplane.expressions.references import Read, References, find_references

MAX_LENGTH: Final = 2048
_UNSET: Final = object()
# Results are remembered for so many sets of values, of expressions that read nothing else than short texts which few
# calls bring anew. What callers choose freely (headers, paths, sizes) would only fill the memory.
_REMEMBERED: Final = 256
_FEW_VALUES: Final = frozenset(
    {
        ("request", "model"),
        ("request", "operation"),
        ("consumer", "name"),
        ("consumer", "namespace"),
        ("consumer", "type"),
        ("consumer", "team"),
        ("consumer", "tier"),
        ("route", "name"),
        ("route", "namespace"),
    }
)


class Program:
    """A checked expression. `variables` are those of `request`, `consumer`, `route`, `now` that it needs.

    Not for use by several threads at once: the values of the last call stay in its context.
    """

    __slots__ = ("_clock", "_context", "_last", "_program", "_reads", "_results", "source", "variables")

    def __init__(self, source: str, references: References) -> None:
        self.source = source
        self.variables = frozenset(read.root for read in references.reads)
        self._program = _parse(references.text)
        self._context = cel.Context(functions={name: accessor(name) for name in references.zoned})
        self._reads = tuple(read for read in references.reads if read.root != NOW)
        self._clock = NOW in self.variables
        self._last: list[object] = [_UNSET] * (len(self._reads) + 1)
        self._results: dict[tuple[object, ...], bool] | None = None
        if not self._clock and all(map(_has_few_values, self._reads)):
            self._results = {}

    def evaluate(self, variables: Mapping[str, Any]) -> bool:
        """The truth value. `variables` maps each needed name to a mapping of its members, `now` to epoch seconds.

        Values are compared by identity with those of the last call, so lists and maps must not be changed in place.
        Raises EvaluationError.
        """
        results = self._results
        if results is None:
            return self._evaluate(variables)
        values = tuple([_value(read, variables) for read in self._reads])
        known = results.get(values)
        if known is None:
            known = self._evaluate(variables)
            if len(results) >= _REMEMBERED:
                results.clear()
            results[values] = known
        return known

    def _evaluate(self, variables: Mapping[str, Any]) -> bool:
        context, last = self._context, self._last
        if self._clock:
            now = int(variables[NOW])
            if last[-1] != now:
                context.add_variable(NOW, datetime.fromtimestamp(now, UTC))
                last[-1] = now
        for place, read in enumerate(self._reads):
            value = variables[read.root][read.member]
            if value is last[place]:
                continue
            last[place] = value
            if read.keys is not None:
                value = {key: value[key] for key in read.keys if key in value}
            context.add_variable(read.flat, value)
        try:
            result = self._program.execute(context)
        except Exception as error:
            raise EvaluationError(_explain(error)) from error
        except BaseException as error:
            if not _is_panic(error):
                raise
            raise EvaluationError("the CEL library failed") from error
        if result is True:
            return True
        if result is False:
            return False
        raise EvaluationError(f"the result is {_type_name(result)}, not a bool")


def _has_few_values(read: Read) -> bool:
    if (read.root, read.member) == ("consumer", "attributes"):
        return read.keys is not None
    return (read.root, read.member) in _FEW_VALUES and read.keys is None


def _value(read: Read, variables: Mapping[str, Any]) -> object:
    """What a read sees, to be compared by value; an absent key is None, which no attribute is."""
    member = variables[read.root][read.member]
    return member if read.keys is None else tuple([member.get(key) for key in read.keys])


def compile_expression(text: str) -> Program:
    """Check and compile; raises ExpressionError with what is wrong and what would be right."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {MAX_LENGTH}")
    _parse(text)
    references = find_references(text)
    for literal in references.literals:
        _try_literal(literal)
    program = Program(text, references)
    _try_out(program, references.reads)
    return program


def _parse(text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except (ValueError, RuntimeError) as error:
        lines = str(error).partition("ERROR: <input>:")[2] or str(error)
        raise ExpressionError(f"not a CEL expression: {lines.splitlines()[0]}") from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise ExpressionError("not a CEL expression that the library can read; write it in a simpler way") from error


def _try_literal(text: str) -> None:
    try:
        cel.compile(text).execute()
    except Exception as error:
        raise ExpressionError(_explain(error)) from error


def _try_out(program: Program, reads: tuple[Read, ...]) -> None:
    """Evaluate on sample data, where every key that is looked up is present, and tell unlike types and non-bools."""
    variables: dict[str, Any] = {root: dict(members) for root, members in SAMPLES.items()}
    variables[NOW] = SAMPLE_NOW.timestamp()
    for read in reads:
        if read.keys is not None:
            variables[read.root][read.member] = dict.fromkeys(read.keys, "1")
    try:
        program.evaluate(variables)
    except EvaluationError as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, TypeError) or "Undefined" in str(cause):
            raise ExpressionError(str(error)) from error
    # A program keeps the values of its last call: begin anew.
    program._last[:] = [_UNSET] * len(program._last)


def _is_panic(error: BaseException) -> bool:
    """Whether the library's Rust code gave up: such an error is no Exception, lest it be swallowed by accident."""
    return type(error).__name__ == "PanicException"


def _explain(error: Exception) -> str:
    """The library's message in our words and on one line."""
    if isinstance(error, KeyError):
        return f"there is no key {error.args[0]!r}; ask with has() or 'in' first"
    text = " ".join(str(error).split())
    if text.startswith("Undefined variable or function: "):
        name = text.split("'")[1]
        return f"{name}() cannot be applied to values of these types"
    if text.startswith("No such overload"):
        return "an operator is applied to values of unlike types; convert with int(), double() or string()"
    return text.removesuffix(" Check function arguments and their types.")


def _type_name(value: object) -> str:
    names = {int: "an int", float: "a double", str: "a string", list: "a list", dict: "a map", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")
