"""Options and fixtures that all tests share."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `make test` tries the same examples each time, so that what is red for one is red for all; `make test-properties`
# looks for new ones. How long an example takes is the machine's affair: pytest's own time limit finds what hangs.
_ALIKE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ALIKE, derandomize=True)
settings.register_profile("new", _ALIKE, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites the expected files instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected files of golden tests")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """`golden(path, text)` compares `text` with the file, or writes it with --update-golden; fails with a diff."""
    update: bool = request.config.getoption("--update-golden")

    def compare(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path} is missing: run pytest with --update-golden and read what it writes")
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), text.splitlines(), f"{path.name} as committed", "as it is now", lineterm=""
            )
            pytest.fail("\n".join([f"{path} differs (--update-golden rewrites it):", *lines]), pytrace=False)

    return compare
