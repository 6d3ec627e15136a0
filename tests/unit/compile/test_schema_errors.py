"""The words for schema errors cover the API as it is."""

from collections.abc import Iterator
from typing import Any

import pytest

from tidegate_crds.v1alpha1 import KINDS
from tidegate_crds.v1alpha1.airoute import AIRouteSpec
from tidegate_crds.wording import PATTERN_WORDS
from tidegate_operator.compile.spec_shape import fields_of, model_at


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from _patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_of_a_spec_has_words(kind: str) -> None:
    spec = KINDS[kind].model_fields["spec"].annotation
    assert spec is not None
    assert set(_patterns(spec.model_json_schema())) <= set(PATTERN_WORDS)


def test_known_fields_are_those_on_the_wire() -> None:
    assert "pathPrefix" in fields_of(AIRouteSpec)
    assert model_at(AIRouteSpec, ("targets", 0, "backendRef")) == {"name", "namespace"}
    assert model_at(AIRouteSpec, ("models", 0)) == frozenset()
