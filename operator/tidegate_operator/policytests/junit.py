"""Results as JUnit XML, as continuous integration reads it.

Holds to both schemas in use, that of Ant's junitreport (Windy Road's JUnit.xsd) and that of Jenkins (junit-10.xsd): so
the root has no attributes, and every suite has all parts in the order of the first.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple
from xml.etree import ElementTree as Xml

from tidegate_dataplane.engine.explain_text import render
from tidegate_operator.policytests.running import Result

# What XML 1.0 cannot hold.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Outcome(NamedTuple):
    """One test case. `kind` is "" where it passed, else "failure" or "error"; `text` is the whole story."""

    name: str
    place: str
    seconds: float
    kind: str = ""
    message: str = ""
    text: str = ""


def as_junit(results: Iterable[Result], *, started: float) -> bytes:
    """One suite a file. `started` is in seconds since the epoch."""
    return written(by_file(results), started=started)


def by_file(results: Iterable[Result]) -> list[tuple[str, list[Outcome]]]:
    """The results of each test file, as the cases of one suite."""
    grouped = groupby(results, key=lambda result: result.case.file)
    return [(file, [_outcome(result) for result in group]) for file, group in grouped]


def written(suites: Iterable[tuple[str, list[Outcome]]], *, started: float) -> bytes:
    """The whole file. `started` is in seconds since the epoch."""
    root = Xml.Element("testsuites")
    for number, (name, outcomes) in enumerate(suites):
        root.append(_suite(number, name, outcomes, started))
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(number: int, name: str, outcomes: list[Outcome], started: float) -> Xml.Element:
    suite = Xml.Element(
        "testsuite",
        {
            "id": str(number),
            "package": "tidegate",
            "name": _clean(name),
            "timestamp": f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%S}",
            "hostname": "localhost",
            "tests": str(len(outcomes)),
            "failures": str(sum(outcome.kind == "failure" for outcome in outcomes)),
            "errors": str(sum(outcome.kind == "error" for outcome in outcomes)),
            "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
        },
    )
    Xml.SubElement(suite, "properties")
    suite.extend(_case(outcome) for outcome in outcomes)
    Xml.SubElement(suite, "system-out")
    Xml.SubElement(suite, "system-err")
    return suite


def _outcome(result: Result) -> Outcome:
    case = result.case
    if result.passed:
        return Outcome(case.name, case.file, result.seconds)
    kind = "error" if result.explanation is None else "failure"
    message = "; ".join(result.differences)
    told = "" if result.explanation is None else f"\n\n{render(result.explanation)}"
    return Outcome(case.name, case.file, result.seconds, kind, message, f"{case.place}: {message}{told}")


def _case(outcome: Outcome) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {"name": _clean(outcome.name), "classname": _clean(outcome.place), "time": f"{outcome.seconds:.3f}"},
    )
    if outcome.kind:
        failed = Xml.SubElement(case, outcome.kind, {"message": _clean(outcome.message), "type": "policy"})
        failed.text = _clean(outcome.text)
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
