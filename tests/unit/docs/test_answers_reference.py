"""The reference of answers has a row for each error code that a data plane can give, and no other."""

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from tidegate_dataplane.proxy.limits import _NAMES

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "dataplane" / "tidegate_dataplane"
PAGE = (ROOT / "docs" / "reference" / "answers.md").read_text()
# Given where a provider cannot be asked at all; the proxy answers 502 with their code.
UNUSABLE = ("Unusable", "_Broken")


def _rows() -> set[tuple[int, str]]:
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", PAGE, re.MULTILINE)
    return {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def _constants(tree: ast.Module) -> dict[str, object]:
    found: dict[str, object] = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                found[target.id] = value.value
    return found


def _status(node: ast.expr) -> int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "HTTPStatus"
    return HTTPStatus[node.attr].value if named and isinstance(node, ast.Attribute) else None


def _given() -> Iterator[tuple[int, str]]:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        constants = _constants(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ("Denial", "Failure") and (status := _status(node.args[0])) is not None:
                code = node.args[1]
                told = constants.get(code.id) if isinstance(code, ast.Name) else getattr(code, "value", None)
                if isinstance(told, str):
                    yield status, told
            elif node.func.id in UNUSABLE and isinstance(node.args[0], ast.Constant):
                yield 502, str(node.args[0].value)


def test_each_code_has_a_row_with_its_status_and_each_row_a_code() -> None:
    given = set(_given())
    assert len(given) > 40
    assert _rows() == given


def test_each_header_of_tidegates_own_is_described() -> None:
    source = "".join(path.read_text() for part in ("proxy", "engine") for path in (PACKAGE / part).rglob("*.py"))
    headers = set(re.findall(r"b\"(x-tidegate-[a-z-]+)\"", source))
    assert headers
    assert headers == set(re.findall(r"^\| `(x-tidegate-[a-z-]+)` \|", PAGE, re.MULTILINE))
    (row,) = re.findall(r"^\| `x-ratelimit-limit-UNIT`.*$", PAGE, re.MULTILINE)
    assert all(f"`{name.decode()}`" in row for name in {*_NAMES.values(), b"tokens"})
