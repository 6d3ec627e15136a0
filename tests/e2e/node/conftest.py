"""Fixtures of the tests on the genuine node: one cluster for all of them, in the order of their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.node.cluster import Cluster
from e2e.node.inside import ROOT_VARIABLE
from e2e.node.release import Release


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with both images, up until the last test. Only within namespaces of its own."""
    root = os.environ.get(ROOT_VARIABLE)
    if root is None:
        pytest.fail("these tests need namespaces of their own: run `make e2e`", pytrace=False)
    with Cluster(Path(root)) as running:
        images = Path(os.environ["TIDEGATE_E2E_IMAGES"])
        running.import_images(images / "dataplane.tar", images / "operator.tar")
        yield running


@pytest.fixture(scope="session")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The installation that all tests share; the first of them installs it."""
    return Release(cluster, tmp_path_factory.mktemp("helm"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They follow each other: what is installed first is used, upgraded, hurt and removed by the next."""
    items.sort(key=lambda item: (item.path.name, item.location[1]))
