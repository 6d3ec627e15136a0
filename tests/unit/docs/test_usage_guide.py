"""The guide to `tidegate usage` shows what its example gives, and the reference of prices what Tidegate accepts."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from dataplane.audit_logs import record, write_file
from dataplane.planes import running
from dataplane.raw_http import exchange, request
from tidegate_crds.v1alpha1.aibackend import ModelPrice
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.snapshot.entries import Provider
from tidegate_operator.cli.register import register
from tidegate_operator.cli.usage import Output
from tidegate_operator.compile import compile_world, make_bundle
from tidegate_operator.compile.content.price import price_entry
from tidegate_operator.compile.prices import price_table
from tidegate_operator.compile.problems import Problems
from tidegate_operator.manifests import load_paths, to_world
from tidegate_operator.usage.report import figures
from tidegate_operator.usage.tally import DIMENSIONS, Sums
from tidegate_operator.world import Facts

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "how-to" / "usage.md").read_text()
PRICES = (ROOT / "docs" / "reference" / "prices.md").read_text()
COMMANDS = [line for line in re.findall(r"^\$ (.*)$", GUIDE, re.MULTILINE) if "tidegate usage" in line]


def usage(command: str, stdin: bytes = b"") -> tuple[int, str]:
    app = typer.Typer(add_completion=False)
    register(app)
    arguments = shlex.split(command)[1:]
    result = CliRunner().invoke(app, arguments, input=stdin)
    return result.exit_code, result.output


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file(tmp_path / "audit.jsonl", [record()])
    piped = command.split(" | ")
    code, output = usage(piped[-1], (tmp_path / "audit.jsonl").read_bytes() if len(piped) > 1 else b"")
    assert code == 0, output


async def test_the_example_gives_what_the_guide_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Facts()
    bundle = make_bundle(compile_world(to_world(load_paths([ROOT / "examples" / "prices"])), facts), facts, 1)
    asked = re.findall(r"^\$ ask (\S+) (\S+)$", GUIDE, re.MULTILINE)
    assert len(asked) == 4
    async with running(bundle, audit=tmp_path / "audit.jsonl") as plane:
        for key, model in asked:
            body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Why tides?"}}]}}'
            found = await exchange(plane, request(body.encode(), key=key))
            assert found.status == 200, found.text
    monkeypatch.chdir(tmp_path)
    shown = re.search(r"^\$ (tidegate usage audit.jsonl --by team,model)\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert usage(shown[1]) == (0, shown[2])


def test_every_option_group_and_figure_is_described() -> None:
    for word in (*DIMENSIONS, *figures(Sums()), *Output):
        assert re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", GUIDE), word


def test_the_price_in_the_reference_is_accepted_and_names_every_field() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PRICES, re.DOTALL)
    (model,) = yaml.safe_load(block)["spec"]["models"]
    problems = Problems()
    price_entry(ModelPrice.model_validate(model["price"]), "price", problems)
    assert problems.found() == ()
    assert set(model["price"]) == {field.alias for field in ModelPrice.model_fields.values()}


def test_the_reference_says_which_providers_have_a_table() -> None:
    rows = {row[0]: row[1] for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*) \|$", PRICES, re.MULTILINE)}
    told = {name: text for names, text in rows.items() for name in re.findall(r"`(\w+)`", names)}
    for provider in Provider:
        assert (price_table(provider) is None) == told[provider].startswith("none")


def test_the_metrics_of_the_reference_are_counted() -> None:
    metrics = Metrics()
    for counter in (metrics.cost, metrics.unpriced):
        assert f"`{counter.name}_total`" in PRICES
        assert all(f"`{label}`" in PRICES for label in counter.labels)
