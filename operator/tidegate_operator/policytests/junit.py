"""Results as JUnit XML, as continuous integration reads it.

Holds to both schemas in use, that of Ant's junitreport (Windy Road's JUnit.xsd) and that of Jenkins (junit-10.xsd): so
the root has no attributes, and every suite has all parts in the order of the first.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from xml.etree import ElementTree as Xml

from tidegate_dataplane.engine.explain_text import render
from tidegate_operator.policytests.running import Result

# What XML 1.0 cannot hold.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(results: Iterable[Result], *, started: float) -> bytes:
    """One suite a file. `started` is in seconds since the epoch."""
    root = Xml.Element("testsuites")
    for number, (file, group) in enumerate(groupby(results, key=lambda result: result.case.file)):
        root.append(_suite(number, file, list(group), started))
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(number: int, file: str, results: list[Result], started: float) -> Xml.Element:
    errors = sum(result.explanation is None and not result.passed for result in results)
    failures = sum(not result.passed for result in results) - errors
    suite = Xml.Element(
        "testsuite",
        {
            "id": str(number),
            "package": "tidegate",
            "name": _clean(file),
            "timestamp": f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%S}",
            "hostname": "localhost",
            "tests": str(len(results)),
            "failures": str(failures),
            "errors": str(errors),
            "time": f"{sum(result.seconds for result in results):.3f}",
        },
    )
    Xml.SubElement(suite, "properties")
    suite.extend(_case(result) for result in results)
    Xml.SubElement(suite, "system-out")
    Xml.SubElement(suite, "system-err")
    return suite


def _case(result: Result) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {"name": _clean(result.case.name), "classname": _clean(result.case.file), "time": f"{result.seconds:.3f}"},
    )
    if not result.passed:
        kind = "error" if result.explanation is None else "failure"
        message = "; ".join(result.differences)
        failed = Xml.SubElement(case, kind, {"message": _clean(message), "type": "policy"})
        told = "" if result.explanation is None else f"\n\n{render(result.explanation)}"
        failed.text = _clean(f"{result.case.place}: {message}{told}")
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
