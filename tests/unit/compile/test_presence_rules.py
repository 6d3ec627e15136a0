"""Rules of the CRDs that ask only which fields are there: looked up, with the answer that CEL gives."""

from __future__ import annotations

from itertools import product

import cel
import pytest

from tidegate_operator.cel_rule import rule_holds

VALUES: tuple[object, ...] = ("x", {}, None)
RULES = (
    "has(self.secretRef) != has(self.sha256)",
    "!has(self.generate) || has(self.secretRef)",
    "[has(self.a), has(self.b), has(self.c)].filter(x, x).size() == 1",
    "has(self.a) && self.a == 'x'",
)


@pytest.mark.parametrize("rule", RULES)
def test_answers_as_cel_does(rule: str) -> None:
    names = ("secretRef", "sha256", "generate", "a", "b", "c")
    for present in product((False, True), repeat=len(names)):
        for value in VALUES:
            data = {name: value for name, there in zip(names, present, strict=True) if there}
            exact = cel.compile(rule).execute({"self": data}) is True
            assert rule_holds(rule, data) is exact
