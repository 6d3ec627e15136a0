"""One delivery for all tests here: Argo CD, a Git repository and three clusters take a minute to come up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.figures import Goal, report
from delivery.clusters import Delivery, delivery


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much is measured."""
    parser.addoption("--pushes", type=int, default=10, help="pushes that are timed")
    parser.addoption("--changes", type=int, default=200, help="changes in one push, one of them wrong; at least 30")
    parser.addoption("--quiet-minutes", type=float, default=0.5, help="how long nothing may happen after a sync")


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """Everything runs, and the example's policies are in force in every cluster."""
    with delivery(tmp_path_factory.mktemp("delivery")) as running:
        yield running


@pytest.fixture(scope="session")
def goals() -> Iterator[list[Goal]]:
    """What was promised and what was found; printed and written at the end. Each test asserts its own."""
    found: list[Goal] = []
    yield found
    if found:
        report("argocd", tables=[], goals=found, data={})
