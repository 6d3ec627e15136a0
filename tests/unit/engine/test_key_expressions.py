"""What a quota may count by: its value stands in messages, alerts and Events, so no credential may be in it."""

import pytest

from tidegate_dataplane.expressions import ExpressionError, compile_key
from tidegate_dataplane.expressions.environment import SECRET_HEADERS


@pytest.mark.parametrize("header", sorted(SECRET_HEADERS))
@pytest.mark.parametrize("text", ["request.headers['{}']", "'{}' in request.headers ? 'a' : 'b'"])
def test_a_credential_is_nothing_to_count_by(header: str, text: str) -> None:
    with pytest.raises(ExpressionError, match=f"the header {header} carries a credential"):
        compile_key(text.format(header))


@pytest.mark.parametrize("text", ["request.headers[request.model]", "string(size(request.headers))"])
def test_a_header_has_to_be_named(text: str) -> None:
    with pytest.raises(ExpressionError, match="name the header"):
        compile_key(text)


@pytest.mark.parametrize("text", ["request.headers['x-project']", "consumer.attributes['project']", "consumer.name"])
def test_all_else_can_be_counted_by(text: str) -> None:
    assert compile_key(text).source == text
