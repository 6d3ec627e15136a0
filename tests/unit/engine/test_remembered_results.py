"""Results of an expression that are remembered must be those that it would have had."""

from typing import Any

import pytest

from tidegate_dataplane.expressions import EvaluationError, compile_expression
from tidegate_dataplane.expressions.remembered import REMEMBERED


def variables(*, department: str | None = "research", model: str = "chat-fast") -> dict[str, Any]:
    attributes = {} if department is None else {"department": department}
    return {"consumer": {"attributes": attributes}, "request": {"model": model}}


def test_each_set_of_values_has_its_own_result() -> None:
    program = compile_expression("consumer.attributes.department == 'research' && request.model.startsWith('chat')")
    asked = [variables(), variables(department="sales"), variables(model="gpt"), variables()]
    assert [program.evaluate(each) for each in asked * 2] == [True, False, False, True] * 2


def test_a_missing_attribute_stays_an_error() -> None:
    program = compile_expression("consumer.attributes.department == 'research'")
    assert program.evaluate(variables())
    for _ in range(2):
        with pytest.raises(EvaluationError, match="department"):
            program.evaluate(variables(department=None))
    assert program.evaluate(variables())


def test_more_values_than_are_remembered_make_no_difference() -> None:
    program = compile_expression("request.model.endsWith('7')")
    for number in range(REMEMBERED * 2 + 3):
        assert program.evaluate(variables(model=f"m-{number}")) is str(number).endswith("7")
    assert program.evaluate(variables(model="m-7"))
