"""Paths: which base and operation they stand for, and which are refused."""

import pytest

from tidegate_dataplane.engine import LISTING, listed_model, parse_path
from tidegate_dataplane.snapshot.entries import Operation


@pytest.mark.parametrize(
    ("path", "base", "operation"),
    [
        ("/v1/chat/completions", "/v1", Operation.CHAT),
        ("/v1/completions", "/v1", Operation.COMPLETION),
        ("/v1/responses", "/v1", Operation.RESPONSES),
        ("/v1/embeddings", "/v1", Operation.EMBEDDINGS),
        ("/v1/images/generations", "/v1", Operation.IMAGE),
        ("/v1/moderations", "/v1", Operation.MODERATION),
        ("/v1/fine_tuning/jobs", "/v1", Operation.FINE_TUNE),
        ("/team/ml/v1/chat/completions", "/team/ml/v1", Operation.CHAT),
        ("/chat/completions", "/", Operation.CHAT),
        ("/chat/chat/completions", "/chat", Operation.CHAT),
        ("/v1.2/~a_b/chat/completions", "/v1.2/~a_b", Operation.CHAT),
        ("/v1/models", "/v1", LISTING),
        ("/v1/models/gpt-4o", "/v1", LISTING),
        ("/v1/models/ft:gpt-4o:acme::x%20y", "/v1", LISTING),
        ("/models", "/", LISTING),
    ],
)
def test_reads(path: str, base: str, operation: object) -> None:
    assert parse_path(path) == (base, operation)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "v1/chat/completions",
        "/v1",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/xchat/completionsx",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/../chat/completions",
        "/../v1/chat/completions",
        "/v1/%2e%2e/chat/completions",
        "/v1/%2E./chat/completions",
        "/a%2fv1/chat/completions",
        "/a%2Fv1/chat/completions",
        "/a%5cv1/chat/completions",
        "/a\\v1/chat/completions",
        "/v1%00/chat/completions",
        "/v1%0d%0a/chat/completions",
        "/v1%7f/chat/completions",
        "/v1\n/chat/completions",
        "/v1/chat/completions\n",
        "/v 1/chat/completions",
        "/v%/chat/completions",
        "/v%zz/chat/completions",
        "/vé/chat/completions",
        "/v1;a?b/chat/completions",
        "/v1/chat/completions?x=1",
        "/v1/models/",
        "/v1/" + "a" * 600 + "/chat/completions",
    ],
)
def test_refuses(path: str) -> None:
    assert parse_path(path) == ("", None)


@pytest.mark.parametrize(
    ("path", "model"),
    [("/v1/models", ""), ("/v1/models/gpt-4o", "gpt-4o"), ("/models/a", "a"), ("/v1/models/org/name", "org/name")],
)
def test_a_listing_names_its_model(path: str, model: str) -> None:
    base, _ = parse_path(path)
    assert listed_model(path, base) == model
