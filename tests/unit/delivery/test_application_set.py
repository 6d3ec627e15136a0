"""The example's ApplicationSet gives the chart values that the chart knows."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from delivery.clusters import EXAMPLE
from delivery.health_files import ROOT


def test_the_values_are_those_of_the_chart() -> None:
    known = yaml.safe_load((ROOT / "charts" / "tidegate" / "values.yaml").read_text())
    document = next(iter(yaml.safe_load_all((EXAMPLE / "applicationset.yaml").read_text())))
    given = document["spec"]["template"]["spec"]["source"]["helm"]["valuesObject"]
    assert list(_unknown(given, known)) == []


def test_every_label_that_the_template_reads_is_on_every_cluster() -> None:
    """A label that is missing would become an empty fact, and placement by it would select the wrong clusters."""
    text = (EXAMPLE / "applicationset.yaml").read_text()
    secrets = [each for each in yaml.safe_load_all((EXAMPLE / "clusters.yaml").read_text()) if each]
    read = {part.split('"')[1] for part in text.split("index .metadata.labels ")[1:]}
    assert len(read) == 5
    assert [read - secret["metadata"]["labels"].keys() for secret in secrets] == [set()] * 3


def _unknown(given: Mapping[str, Any], known: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in given.items():
        if name not in known:
            yield path + name
        elif isinstance(value, dict) and known[name]:
            yield from _unknown(value, known[name], f"{path}{name}.")
