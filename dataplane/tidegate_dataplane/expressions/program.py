"""Compiling an expression into a Program, and evaluating it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from math import ceil, isfinite
from typing import Any, Final

import cel

from tidegate_dataplane.expressions import cost
from tidegate_dataplane.expressions.clock import accessor
from tidegate_dataplane.expressions.environment import (
    CALL_ROOTS,
    IN_NETWORK,
    MAPPING_ROOTS,
    NOW,
    RULE_ROOTS,
    SECRET_HEADERS,
    TIMES,
    USAGE_ROOTS,
)
from tidegate_dataplane.expressions.errors import EvaluationError, ExpressionError
from tidegate_dataplane.expressions.networks import in_network
from tidegate_dataplane.expressions.references import Read, References, find_references
from tidegate_dataplane.expressions.remembered import Results
from tidegate_dataplane.expressions.trial import try_out

MAX_LENGTH: Final = 2048
_UNSET: Final = object()


class ValueKind(Enum):
    """What the expression of a claim mapping yields."""

    TEXT = "a string"
    TEXTS = "a list of strings"


class Evaluation:
    """A checked expression, evaluated afresh each time. `variables` are those that it needs, `cost` is in the units of
    cost.py.

    Not for use by several threads at once: the values of the last call stay in its context.
    """

    __slots__ = ("_clock", "_context", "_faults", "_last", "_program", "_reads", "cost", "source", "variables")

    def __init__(self, source: str, references: References) -> None:
        self.source = source
        self.cost = references.cost
        self.variables = frozenset(read.root for read in references.reads)
        self._program = _parse(references.text)
        functions: dict[str, Callable[..., object]] = {name: accessor(name) for name in references.zoned}
        if references.networks:
            functions[IN_NETWORK] = in_network
        self._faults: list[Exception] = []
        ours = {name: _guarded(function, self._faults) for name, function in functions.items()}
        self._context = cel.Context(functions=ours)
        self._reads = tuple(read for read in references.reads if read.root != NOW)
        self._clock = NOW in self.variables
        self._last: list[object] = [_UNSET] * (len(self._reads) + 1)

    def value(self, variables: Mapping[str, Any]) -> Any:
        """Whatever the expression yields; raises EvaluationError."""
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
            last[place] = _UNSET  # should the value be refused
            self._give(read, value)
            last[place] = value
        faults = self._faults
        faults.clear()
        try:
            result = self._program.execute(context)
        except Exception as error:
            if faults:
                raise EvaluationError(_explain(faults[0])) from faults[0]
            raise EvaluationError(_explain(error)) from error
        except BaseException as error:
            if not _is_panic(error):
                raise
            raise EvaluationError("the CEL library failed") from error
        if faults:
            raise EvaluationError(_explain(faults[0])) from faults[0]
        return result

    def _give(self, read: Read, value: Any) -> None:
        given = _given(read, value)
        try:
            self._context.add_variable(read.flat, given)
        except (ValueError, TypeError, OverflowError) as error:
            # Lone surrogates and numbers beyond a double: JSON can say them, CEL cannot.
            raise EvaluationError(f"{read.root}.{read.member} holds what no expression can read") from error

    def reads(self, root: str, member: str) -> bool:
        """Whether what it yields depends on a member, such as `cost` of `usage`."""
        return any((read.root, read.member) == (root, member) for read in self._reads)

    def forget(self) -> None:
        """Begin anew: a program keeps the values of its last call."""
        self._last[:] = [_UNSET] * len(self._last)


class Program(Evaluation):
    """A checked expression that is true or false."""

    __slots__ = ("_results",)

    def __init__(self, source: str, references: References) -> None:
        super().__init__(source, references)
        self._results = Results.of(self._reads, clock=self._clock)

    def evaluate(self, variables: Mapping[str, Any]) -> bool:
        """The truth value. `variables` maps each needed name to a mapping of its members, `now` to epoch seconds.

        Values are compared by identity with those of the last call, so lists and maps must not be changed in place.
        Raises EvaluationError.
        """
        results = self._results
        if results is None:
            return self._truth(variables)
        values = results.key(variables)
        if values is None:
            return self._truth(variables)
        known = results.known.get(values)
        if known is None:
            known = self._truth(variables)
            results.remember(values, known)
        return known

    def _truth(self, variables: Mapping[str, Any]) -> bool:
        result = self.value(variables)
        if result is True:
            return True
        if result is False:
            return False
        raise EvaluationError(f"the result is {_type_name(result)}, not a bool")


class ValueProgram(Evaluation):
    """A checked expression of a claim mapping. Many policies may map alike: the last result is kept."""

    __slots__ = ("_result", "_token", "kind")

    def __init__(self, source: str, references: References, kind: ValueKind) -> None:
        super().__init__(source, references)
        self.kind = kind
        self._token: object = None
        self._result: tuple[str, ...] | str = ""

    def evaluate(self, variables: Mapping[str, Any]) -> tuple[str, ...]:
        """The strings; of kind TEXT exactly one. A single string will do for a list of one (as in RFC 7519's `aud`).

        `variables` maps `token` to a mapping of its members, which must not be changed in place. Raises
        EvaluationError.
        """
        token = variables["token"]
        if token is not self._token:
            self._token = None
            try:
                self._result = self._texts(variables)
            except EvaluationError as error:
                self._result, self._token = str(error), token
                raise
            self._token = token
        if isinstance(self._result, str):
            raise EvaluationError(self._result)
        return self._result

    def forget(self) -> None:
        super().forget()
        self._token = None

    def _texts(self, variables: Mapping[str, Any]) -> tuple[str, ...]:
        result = self.value(variables)
        if isinstance(result, str):
            return (result,)
        if self.kind is ValueKind.TEXT:
            raise EvaluationError(f"the result is {_type_name(result)}, not a string")
        if not isinstance(result, list):
            raise EvaluationError(f"the result is {_type_name(result)}, not a list of strings")
        if strange := [each for each in result if not isinstance(each, str)]:
            raise EvaluationError(f"the result holds {_type_name(strange[0])}, not only strings")
        return tuple(result)


class KeyProgram(Evaluation):
    """A checked expression that yields whose use shares a counter."""

    __slots__ = ()

    def evaluate(self, variables: Mapping[str, Any]) -> str:
        """The text. Raises EvaluationError."""
        result = self.value(variables)
        if not isinstance(result, str):
            raise EvaluationError(f"the result is {_type_name(result)}, not a string")
        return result


class MeasureProgram(Evaluation):
    """A checked expression over `usage` that yields how much a call counts."""

    __slots__ = ()

    def evaluate(self, variables: Mapping[str, Any]) -> int:
        """A whole number, rounded up and never below zero. Raises EvaluationError."""
        result = self.value(variables)
        if isinstance(result, bool) or not isinstance(result, int | float) or not isfinite(result):
            raise EvaluationError(f"the result is {_type_name(result)}, not a number")
        return max(0, ceil(result))


def compile_expression(text: str, *, by_target: bool = False) -> Program:
    """Check and compile a condition; raises ExpressionError with what is wrong and what would be right.

    Only where targets are judged one by one (`by_target`) may it look at `backend`.
    """
    references = _checked(text, RULE_ROOTS if by_target else CALL_ROOTS, cost.RULE_LIMIT)
    program = Program(text, references)
    try_out(references, program.evaluate)
    program.forget()
    return program


def compile_value(text: str, kind: ValueKind) -> ValueProgram:
    """Check and compile an expression of a claim mapping, which sees `token` only; raises ExpressionError."""
    references = _checked(text, MAPPING_ROOTS, cost.MAPPING_LIMIT)
    program = ValueProgram(text, references, kind)
    try_out(references, program.evaluate)
    program.forget()
    return program


def compile_key(text: str) -> KeyProgram:
    """Check and compile the key of a quota; raises ExpressionError."""
    references = _checked(text, CALL_ROOTS, cost.RULE_LIMIT)
    _shows_no_secret(references)
    program = KeyProgram(text, references)
    try_out(references, program.evaluate)
    program.forget()
    return program


def _shows_no_secret(references: References) -> None:
    """What a key yields stands in messages, alerts and Events."""
    for read in references.reads:
        if read.member not in ("headers", "proxyHeaders"):
            continue
        if read.keys is None:
            name = f"{read.root}.{read.member}['x-project']"
            raise ExpressionError(f"name the header, such as {name}: one that is not named may carry a credential")
        for key in sorted(read.keys & SECRET_HEADERS):
            raise ExpressionError(
                f"the header {key} carries a credential, and the value of a key is shown in messages and alerts: "
                "count by consumer.name, or by a claim of the token"
            )


def compile_measure(text: str) -> MeasureProgram:
    """Check and compile the unit of a limit, which sees `usage` only; raises ExpressionError."""
    references = _checked(text, USAGE_ROOTS, cost.MAPPING_LIMIT)
    program = MeasureProgram(text, references)
    try_out(references, program.evaluate)
    program.forget()
    return program


def _checked(text: str, roots: frozenset[str], limit: int) -> References:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {MAX_LENGTH}")
    _parse(text)
    references = find_references(text, roots)
    for literal in references.literals:
        _try_literal(literal)
    found = references.cost + sum(
        times * cost.pattern_cost(str(_try_literal(pattern))) for pattern, times in references.patterns
    )
    if found > limit:
        raise ExpressionError(
            f"the expression may cost {found} units, more than {limit}: use fewer macros, patterns without classes and "
            "counted repetitions, or startsWith(), contains() and 'in'"
        )
    return references._replace(cost=found)


def _guarded(function: Callable[..., object], faults: list[Exception]) -> Callable[..., object]:
    """The same, but that it notes what goes wrong: what a function raises, the library writes to the log, and callers
    choose what it is given. An evaluation with a fault has no value, whatever it comes to."""

    def call(*arguments: object) -> object:
        try:
            return function(*arguments)
        except (TypeError, ValueError, OverflowError) as error:
            faults.append(error)
            return False

    return call


def _given(read: Read, value: Any) -> object:
    """What the library gets for a member; raises EvaluationError when that is too large."""
    if read.keys is not None:
        value = {key: value[key] for key in read.keys if key in value}
    elif (read.root, read.member) in TIMES:
        try:
            return datetime.fromtimestamp(value, UTC)
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise EvaluationError(f"{read.root}.{read.member} is not a time") from error
    cost.check_size(value)
    return value


def _parse(text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except (ValueError, RuntimeError) as error:
        lines = str(error).partition("ERROR: <input>:")[2] or str(error)
        advice = "; write 'x-name' in request.headers instead" if "invalid argument to has()" in lines else ""
        raise ExpressionError(f"not a CEL expression: {lines.splitlines()[0]}{advice}") from error
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise ExpressionError("not a CEL expression that the library can read; write it in a simpler way") from error


def _try_literal(text: str) -> object:
    try:
        return cel.compile(text).execute()
    except Exception as error:
        raise ExpressionError(_explain(error)) from error


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
