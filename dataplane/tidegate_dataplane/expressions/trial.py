"""Trying an expression out on sample data when it is compiled, to tell unlike types and results of a wrong type."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final

from tidegate_dataplane.expressions.environment import CLAIM_SAMPLES, CLAIMS, NOW, SAMPLE_NOW, SAMPLES
from tidegate_dataplane.expressions.errors import EvaluationError, ExpressionError
from tidegate_dataplane.expressions.references import Path, References

# So many claims are tried in every combination of types; of more, all have one type at a time.
_COMBINED: Final = 3


def try_out(references: References, evaluate: Callable[[Mapping[str, Any]], object]) -> None:
    """Evaluate on sample data, where every key that is looked up is present, and tell unlike types and wrong results.

    What a claim holds is known to its issuer alone: the expression is right when it is for some type of each.
    """
    complaint: EvaluationError | None = None
    for variables in _samples(references):
        try:
            evaluate(variables)
            return
        except EvaluationError as error:
            cause = error.__cause__
            if not (cause is None or isinstance(cause, TypeError) or "Undefined" in str(cause)):
                return
            if complaint is None or (cause is None and complaint.__cause__ is not None):
                complaint = error
    if complaint is not None:
        raise ExpressionError(str(complaint)) from complaint


def _samples(references: References) -> Iterator[dict[str, Any]]:
    variables: dict[str, Any] = {root: dict(members) for root, members in SAMPLES.items()}
    variables[NOW] = SAMPLE_NOW.timestamp()
    for read in references.reads:
        if read.keys is not None:
            variables[read.root][read.member] = dict.fromkeys(read.keys, "1")
    paths = references.claims
    root, member = CLAIMS
    for held in _holdings(len(paths)):
        claims = {key: "1" for read in references.reads if read[:2] == CLAIMS for key in read.keys or ("1",)}
        for path, value in zip(paths, held, strict=True):
            _put(claims, path, value)
        yield {**variables, root: {**variables[root], member: claims}}


def _holdings(count: int) -> Iterator[tuple[object, ...]]:
    if count > _COMBINED:
        yield from ((sample,) * count for sample in CLAIM_SAMPLES)
    else:
        yield from product(CLAIM_SAMPLES, repeat=count)


def _put(claims: dict[str, Any], path: Path, value: object) -> None:
    """Of `a` and `a.b` the longer path says what `a` holds."""
    for key in path[:-1]:
        held = claims.get(key)
        claims[key] = dict(held) if isinstance(held, dict) else {}
        claims = claims[key]
    claims[path[-1]] = value
