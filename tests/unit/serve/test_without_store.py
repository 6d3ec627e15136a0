"""`tidegate serve` says at once which limits have no store to count in, and is silent where none needs one."""

from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console

from tidegate_operator.cli.serve import serve
from tidegate_operator.cli.serve_view import ServeView, shared_limits
from tidegate_operator.embedded import EmbeddedOperator
from tidegate_operator.folder import Folder
from tidegate_operator.world import Facts

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def _limits(example: str) -> list[str]:
    return shared_limits(EmbeddedOperator(Folder((EXAMPLES / example,)), Facts()).refresh().compiled.served)


def test_shared_quotas_and_rate_limits_are_found() -> None:
    assert _limits("budgets") == [
        "AIPolicy research/keys",
        *(f"Quota research/{name}" for name in ("department", "experiments", "people", "reports", "teams")),
    ]


@pytest.mark.parametrize("example", ["quotas", "quickstart"])
def test_what_each_data_plane_counts_needs_no_store(example: str) -> None:
    assert _limits(example) == []


def test_the_terminal_says_what_to_give() -> None:
    shown = StringIO()
    ServeView(Console(file=shown, width=500)).without_store(_limits("budgets"))
    assert "AIPolicy research/keys and 5 more count in one" in shown.getvalue()
    assert "--store, such as redis://127.0.0.1:6379" in shown.getvalue()


def test_a_journal_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--journal is of no use without --store"):
        serve(EXAMPLES / "quickstart", journal=tmp_path / "journal")
