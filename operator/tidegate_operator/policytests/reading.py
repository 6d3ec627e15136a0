"""From the text of a `*.test.yaml` to its cases. Strict: whatever is wrong is named with file, line and field."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct

from tidegate_dataplane.proxy.explain import ExplainQuestion, read_time
from tidegate_dataplane.snapshot.entries import Method
from tidegate_operator.field_path import FieldPath, field_path, field_text
from tidegate_operator.manifests import Manifest
from tidegate_operator.policytests.format import CaseOrTable, CasePart, ExpectPart, FilePart, RequestPart
from tidegate_operator.problems import Problem
from tidegate_operator.yaml_documents import Document, Position, YamlProblem, read_documents

MAX_FILE_BYTES = 8 * 1024 * 1024
SUFFIXES = (".test.yaml", ".test.yml")

_AT = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_FIELD = re.compile(r"(?:unknown field|missing required field) `(?P<name>[^`]*)`")

S = TypeVar("S", bound=Struct)


class CaseFileError(Exception):
    """The file cannot be used; `problems` say why, each with its place."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what must become of it. `line` is where it is written; `now` is None for the time of running."""

    file: str
    line: int
    name: str
    question: ExplainQuestion
    expect: ExpectPart

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file of tests: against which resources, and the cases."""

    file: str
    resources: tuple[Path, ...]
    objects: tuple[Manifest, ...] = field(repr=False)
    cases: tuple[Case, ...]


def read_case_file(path: Path) -> CaseFile:
    """Read one file. Raises CaseFileError."""
    document = _document(path)
    file = _File(path, document)
    part = file.parse()
    return CaseFile(
        str(path),
        tuple(_resources(file, part)),
        tuple(Manifest(str(path), raw, document, ("objects", index)) for index, raw in enumerate(part.objects)),
        tuple(_cases(file, part)),
    )


def case_files(paths: list[Path]) -> list[Path]:
    """All test files below the paths, sorted; hidden ones are left out. Raises FileNotFoundError."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        inside = sorted(path.rglob("*.test.y*ml")) if path.is_dir() else [path]
        for file in inside:
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.name.endswith(SUFFIXES) and not hidden and file not in found:
                found.append(file)
    return found


def read_case_files(paths: list[Path]) -> tuple[list[CaseFile], list[Problem]]:
    """All test files below the paths that can be read, and what is wrong with the others. Raises FileNotFoundError."""
    files: list[CaseFile] = []
    problems: list[Problem] = []
    for path in case_files(paths):
        try:
            files.append(read_case_file(path))
        except CaseFileError as error:
            problems += error.problems
    return files, problems


class _File:
    """A document and where its fields stand."""

    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.document = document

    def parse(self) -> FilePart:
        try:
            return msgspec.convert(self.document.value, FilePart)
        except msgspec.ValidationError as error:
            raise CaseFileError([self._problem(str(error))]) from None

    def line(self, path: FieldPath) -> int:
        return self.position(path).line

    def position(self, path: FieldPath) -> Position:
        positions = self.document.positions
        return next((positions[path[:n]] for n in range(len(path), -1, -1) if path[:n] in positions), Position(1, 1))

    def fail(self, path: FieldPath, message: str) -> CaseFileError:
        line, column = self.position(path)
        return CaseFileError([Problem(str(self.path), line, message, field_text(path), column=column)])

    def _problem(self, text: str) -> Problem:
        """msgspec names the path of the object, and in words the field of it that is wrong."""
        at = _AT.search(text)
        path = field_path(at["path"].removeprefix(".").replace("[...]", "")) if at is not None else ()
        message = text[: at.start()] if at is not None else text
        named = _FIELD.search(message)
        if named is not None and "unknown" in message:
            path, message = (*path, named["name"]), "there is no such field"
        elif named is not None:
            path, message = (*path, named["name"]), "required"
        line, column = self.position(path)
        return Problem(str(self.path), line, message, field_text(path), column=column)


def _document(path: Path) -> Document:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseFileError([Problem(str(path), 1, f"cannot be read: {error.strerror}")]) from None
    if len(content) > MAX_FILE_BYTES:
        raise CaseFileError([Problem(str(path), 1, f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB; split it")])
    try:
        documents = list(read_documents(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise CaseFileError([Problem(str(path), 1, "not UTF-8")]) from None
    problems = [Problem(str(path), one.position.line, one.message) for one in documents if isinstance(one, YamlProblem)]
    if problems:
        raise CaseFileError(problems)
    whole = [one for one in documents if isinstance(one, Document)]
    if len(whole) != 1:
        raise CaseFileError([Problem(str(path), 1, f"holds {len(whole)} documents; a test file is one")])
    return whole[0]


def _resources(file: _File, part: FilePart) -> Iterator[Path]:
    folder = file.path.parent
    for index, text in enumerate(part.resources):
        found = [folder / text] if not set(text) & set("*?[") else sorted(folder.glob(text))
        if not found or not all(one.exists() for one in found):
            raise file.fail(("resources", index), "leads to no file; write paths as seen from this file")
        yield from found


def _cases(file: _File, part: FilePart) -> Iterator[Case]:
    seen: dict[str, int] = {}
    for index, test in enumerate(part.tests):
        path: FieldPath = ("tests", index)
        if not isinstance(test.name, str) or not test.name:
            raise file.fail(path, "a test needs a name")
        for row, (case, where) in enumerate(_rows(test, path)):
            merged = _merged(_merged(part.defaults, test), case)
            name = test.name if case is test else f"{test.name}: {_row_name(case, row)}"
            if name in seen:
                raise file.fail(where, f"the name stands in line {seen[name]} already; each test has its own")
            seen[name] = file.line(where)
            yield Case(str(file.path), seen[name], name, _question(file, where, merged), _expect(file, where, merged))


def _rows(test: CaseOrTable, path: FieldPath) -> Iterator[tuple[CasePart, FieldPath]]:
    if test.each is UNSET:
        yield test, path
        return
    for index, row in enumerate(test.each):
        yield row, (*path, "each", index)


def _row_name(row: CasePart, number: int) -> str:
    for value in (row.name, row.who):
        if isinstance(value, str):
            return value
    return "anonymous" if row.anonymous is True else f"row {number + 1}"


def _merged(outer: CasePart, inner: CasePart) -> CasePart:
    """What `inner` says wins; request and expectation are merged field by field, so is who calls as a whole."""
    taken = {name: getattr(outer, name) for name in CasePart.__struct_fields__}
    if any(getattr(inner, name) is not UNSET for name in _WHO):
        taken |= dict.fromkeys(_WHO, UNSET)
    if inner.method is not UNSET or inner.methods is not UNSET:
        taken |= {"method": UNSET, "methods": UNSET}
    for name in CasePart.__struct_fields__:
        value = getattr(inner, name)
        if value is UNSET:
            continue
        before = taken[name]
        both = isinstance(value, Struct) and isinstance(before, Struct)
        taken[name] = _over(before, value) if both else value
    return CasePart(**taken)


_WHO = ("who", "anonymous", "certificate")


def _over(before: S, value: S) -> S:
    given = {name: one for name in value.__struct_fields__ if (one := getattr(value, name)) is not UNSET}
    return msgspec.structs.replace(before, **given)


def _question(file: _File, where: FieldPath, case: CasePart) -> ExplainQuestion:
    request = case.request if isinstance(case.request, RequestPart) else RequestPart()
    if not isinstance(request.model, str):
        raise file.fail(where, "the request needs a model (here or in defaults)")
    ways = [name for name in _WHO if getattr(case, name) not in (UNSET, False)]
    by_claims = not ways and case.claims is not UNSET
    if len(ways) != 1 and not by_claims:
        raise file.fail(
            where, "say who calls: give exactly one of as, anonymous: true and certificate, or claims alone"
        )
    if case.method is not UNSET and case.methods is not UNSET:
        raise file.fail(where, "give method or methods, not both")
    try:
        read_time(_or(case.at, "now"))
    except ValueError as error:
        raise file.fail((*where, "at"), str(error)) from None
    who = _or(case.who, "")
    methods = (case.method,) if isinstance(case.method, Method) else _or(case.methods, ())
    return ExplainQuestion(
        model=request.model,
        consumer=who if "/" in who or not who else f"default/{who}",
        methods=(Method.ANONYMOUS,) if case.anonymous is True else methods,
        claims=_or(case.claims, {}),
        certificate=_or(case.certificate, {}),
        operation=None if request.operation is UNSET else request.operation,
        path=_or(request.path, ""),
        host=_or(request.host, ""),
        headers=_or(request.headers, {}),
        address=_or(request.source_ip, ""),
        peer=_or(request.peer, ""),
        proxy_headers=_or(request.proxy_headers, {}),
        body_bytes=_or(request.body_bytes, 0),
        prompt_tokens=_or(request.prompt_tokens, 1),
        time=_or(case.at, "now"),
        remedies=isinstance(case.expect, ExpectPart) and case.expect.remedy is not UNSET,
    )


T = TypeVar("T")


def _or(value: object, default: T) -> T:
    return default if value is UNSET else value  # type: ignore[return-value]  # UNSET is the only other type


def _expect(file: _File, where: FieldPath, case: CasePart) -> ExpectPart:
    expect = case.expect
    if not isinstance(expect, ExpectPart) or all(getattr(expect, name) is UNSET for name in expect.__struct_fields__):
        raise file.fail(where, "say what is expected, such as expect: {allowed: true}")
    if expect.allowed is True and (expect.status is not UNSET or expect.code is not UNSET):
        raise file.fail(where, "a call that is allowed has no status and code of a refusal")
    return expect
