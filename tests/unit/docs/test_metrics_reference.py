"""The reference of metrics has a row for each metric that is told, with its labels, and no other."""

import re
from pathlib import Path

from dataplane.planes import running
from tidegate_dataplane.alerts.delivery import Result
from tidegate_dataplane.metrics import Counter, Histogram, Metrics
from tidegate_dataplane.pricing.price import PriceSource
from tidegate_dataplane.proxy.usage import COUNTED, ESTIMATED, REPORTED
from tidegate_dataplane.reload import Outcome
from tidegate_operator.metrics import Metrics as OperatorMetrics

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
DATA_PLANE, OPERATOR = PAGE.split("\n## Operator\n")


def _rows(text: str) -> dict[str, set[str]]:
    """Labels by metric."""
    rows = re.findall(r"^\| ((?:`tidegate_\w+`(?:, )?)+) \|([^|]*)\|", text, re.MULTILINE)
    words = re.compile(r"`(\w+)`")
    return {name: set(words.findall(labels)) for names, labels in rows for name in words.findall(names)}


def _told(scraped: bytes) -> set[str]:
    names = re.findall(r"^# TYPE (tidegate_\w+) ", scraped.decode(), re.MULTILINE)
    return {name for name in names if not name.endswith("_created")}


async def test_each_metric_of_a_data_plane_has_a_row_and_each_row_a_metric(tmp_path: Path) -> None:
    async with running(audit=tmp_path / "audit.jsonl") as plane:
        assert set(_rows(DATA_PLANE)) == _told(plane.metrics.render())
        counters = [plane.alerts.fired, plane.alerts.deliveries]
    rows = _rows(DATA_PLANE)
    series = [each for each in vars(Metrics()).values() if isinstance(each, Counter | Histogram)]
    assert len(series) > 8
    for each in [*series, *counters]:
        name = f"{each.name}_total" if isinstance(each, Counter) else each.name
        assert rows[name] == set(each.labels), name


def test_each_metric_of_the_operator_has_a_row_and_each_row_a_metric() -> None:
    assert set(_rows(OPERATOR.split("\n## ")[0])) == _told(OperatorMetrics().render())


def test_every_metric_that_any_page_names_exists() -> None:
    known = {*_rows(DATA_PLANE), *_rows(OPERATOR)}
    known |= {each.removesuffix("_total") for each in known}
    packages = {"tidegate_dataplane", "tidegate_operator", "tidegate_crds"}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {(page.name, name) for page in pages for name in re.findall(r"\btidegate_[a-z_]+\b", page.read_text())}
    assert {(page, name) for page, name in named if name not in known | packages} == set()


def test_fixed_words_of_labels_are_named() -> None:
    prices = [each for each in PriceSource if each is not PriceSource.UNKNOWN]  # those are counted apart
    for word in (*Result, *Outcome, *prices, REPORTED, COUNTED, ESTIMATED):
        assert f"`{word}`" in DATA_PLANE, word
