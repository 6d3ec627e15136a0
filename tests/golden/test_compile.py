"""Golden pairs of the compiler: tests/golden/compile/<case>.in.yaml -> <case>.out.yaml."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from compiling.case import run_case

CASES = sorted((Path(__file__).parent / "compile").glob("*.in.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_a_case_compiles_to_its_golden_output(path: Path, golden: Callable[[Path, str], None]) -> None:
    found = yaml.safe_dump(run_case(path), sort_keys=False, allow_unicode=True, width=120)
    golden(path.with_name(path.name.replace(".in.yaml", ".out.yaml")), found)


def test_every_output_has_an_input() -> None:
    outputs = {path.name.removesuffix(".out.yaml") for path in (Path(__file__).parent / "compile").glob("*.out.yaml")}
    assert outputs == {path.name.removesuffix(".in.yaml") for path in CASES}
