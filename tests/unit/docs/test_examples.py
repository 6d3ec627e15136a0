"""The examples do what their own tests say, and so do the expressions of the guide to rules."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tidegate_dataplane.expressions import compile_expression
from tidegate_operator.cli.register import register

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
GUIDE = (ROOT / "docs" / "how-to" / "access-rules.md").read_text()
# Blocks of indented lines, but for commands.
BLOCKS = [block for block in re.findall(r"(?:^ {4}\S.*\n)+", GUIDE, re.MULTILINE) if "tidegate test" not in block]


@pytest.mark.parametrize("folder", sorted(path.parent.parent.name for path in EXAMPLES.glob("*/tests/*.test.yaml")))
def test_the_tests_of_an_example_pass(folder: str) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["test", str(EXAMPLES / folder)])
    assert result.exit_code == 0, result.output


def test_tests_stand_apart_so_that_kubectl_can_apply_a_folder() -> None:
    assert not list(EXAMPLES.glob("*/*.test.yaml"))


def test_the_guide_has_expressions() -> None:
    assert len(BLOCKS) >= 7


@pytest.mark.parametrize("block", BLOCKS)
def test_the_expressions_of_the_guide_are_admitted(block: str) -> None:
    """A line that begins a new expression stands for itself."""
    for text in re.split(r"\n(?! *(?:&&|\|\|))", block.strip()):
        assert compile_expression(text, by_target=True)
