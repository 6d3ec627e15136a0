"""Folders and files of manifests -> objects that remember where each of their fields stands.

Reads what `kubectl apply -R -f` would apply, tells apart what is Tidegate's own, and turns the rest into notes. Whether
an object is valid is judged elsewhere (offline/). No message repeats a value.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate_crds.v1alpha1.shapes import LABEL_PATTERN, SUBDOMAIN_PATTERN
from tidegate_crds.wording import PATTERN_WORDS
from tidegate_operator.field_path import FieldPath, field_path, field_text
from tidegate_operator.manifest_files import manifest_files
from tidegate_operator.offline.secret_data import config_map_data, secret_data
from tidegate_operator.offline.stored_form import stored_spec
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.world import LIST_LABEL, ConfigMapKey, Kind, ObjectKey, Resource, SecretKey, World
from tidegate_operator.yaml_documents import Document, Position, YamlProblem, read_documents

MAX_FILE_BYTES = 8 * 1024 * 1024
# More than most files have: a buffer for the most that one may have would cost each of them more than all the rest.
_FEW_BYTES = 1 << 16
"""A file above it is refused: etcd takes no object above 1.5 MiB, so a larger file is not a manifest."""
DEFAULT_NAMESPACE = "default"
API_VERSION = "tidegate.dev/v1alpha1"

_GROUP = "tidegate.dev"
_JSON_ESCAPE = re.compile(r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|.)")
_EXAMPLES = {"apiVersion": API_VERSION, "kind": Kind.ROUTE.value}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as its author wrote it, with positions. `raw` is plain JSON data and must never be changed.

    `kind`, `namespace` and `name` are empty where they are missing or no text; without a namespace it is "default".
    """

    file: str
    raw: Mapping[str, Any] = field(repr=False)
    document: Document = field(repr=False)
    within: FieldPath = ()

    @property
    def api_version(self) -> str:
        return _text(self.raw.get("apiVersion"))

    @property
    def kind(self) -> str:
        return _text(self.raw.get("kind"))

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata = self.raw.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        return _text(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        return _text(self.metadata.get("namespace")) or DEFAULT_NAMESPACE

    @property
    def key(self) -> ObjectKey | None:
        """The identity of one of Tidegate's kinds; None for a Secret, or where a name is missing or not possible."""
        if self.api_version != API_VERSION or self.kind not in set(Kind) or next(name_problems(self), None):
            return None
        return ObjectKey(Kind(self.kind), self.namespace, self.name)

    @property
    def is_secret(self) -> bool:
        return self.api_version == "v1" and self.kind == "Secret"

    @property
    def is_list(self) -> bool:
        """A ConfigMap that is labelled as a list."""
        labels = self.metadata.get("labels")
        labelled = isinstance(labels, dict) and labels.get(LIST_LABEL) == "true"
        return labelled and self.api_version == "v1" and self.kind == "ConfigMap"

    def __str__(self) -> str:
        # Of foreign kinds it is not known whether they have a namespace.
        own = self.is_secret or self.is_list or self.api_version.startswith(f"{_GROUP}/")
        within = f"{self.namespace}/" if own or "namespace" in self.metadata else ""
        return f"{self.kind or 'object'} {within}{self.name or '?'}"

    def line_of(self, path: str | Sequence[str | int]) -> int:
        """Line of the field at `path` (`spec.targets[0].weight`), or of its nearest ancestor that is there."""
        return self.position_of(path).line

    def position_of(self, path: str | Sequence[str | int]) -> Position:
        """Line and column of the field at `path`, or of its nearest ancestor that is there."""
        steps = field_path(path) if isinstance(path, str) else tuple(path)
        whole = (*self.within, *steps)
        for length in range(len(whole), -1, -1):
            if whole[:length] in self.document.positions:
                return self.document.positions[whole[:length]]
        return Position(1, 1)

    def spelling_of(self, path: Sequence[str | int]) -> str | None:
        """How the unquoted boolean at `path` is written, such as `on`; None if there is none."""
        return self.document.spellings.get((*self.within, *path))

    def problem(
        self,
        path: str | Sequence[str | int],
        message: str,
        *,
        expected: str = "",
        reason: str = "Invalid",
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        """A problem with this object, at the position of the field."""
        line, column = self.position_of(path)
        shown = path if isinstance(path, str) else field_text(path)
        return Problem(self.file, line, message, shown, expected, str(self), reason, severity, column)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the paths hold: `documents` are Tidegate's own objects, Secrets and lists, in the order of reading.

    `problems` are errors of files and identity, and warnings about what was ignored. `files` were read.
    """

    documents: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    files: tuple[str, ...] = ()


def load_paths(paths: Iterable[str | Path]) -> Loaded:
    """Read files, and folders recursively. Raises FileNotFoundError for a path that does not exist."""
    documents: list[Manifest] = []
    problems: list[Problem] = []
    files: list[str] = []
    for path in manifest_files(paths):
        files.append(str(path))
        for found in _read_file(path):
            if isinstance(found, Manifest):
                documents.append(found)
                problems += name_problems(found)
            else:
                problems.append(found)
    problems += _duplicates(documents)
    return Loaded(tuple(documents), tuple(problems), tuple(files))


def to_world(loaded: Loaded, generations: Mapping[ObjectKey, int] | None = None) -> World:
    """All objects that have an identity, every readable Secret and list; of two with one identity the first counts.

    Objects with a schema problem are handed over too: the compiler refuses them and keeps their last valid form.
    `generations` gives metadata.generation (1 where it is silent).
    """
    resources: dict[ObjectKey, Resource] = {}
    secret_values: dict[SecretKey, Mapping[str, bytes]] = {}
    lists: dict[ConfigMapKey, Mapping[str, bytes]] = {}
    for manifest in loaded.documents:
        key = manifest.key
        if key is not None:
            if key not in resources:
                resources[key] = _resource(manifest, key, (generations or {}).get(key, 1))
        elif manifest.is_secret and manifest.name:
            secret_values.setdefault(SecretKey(manifest.namespace, manifest.name), secret_data(manifest.raw)[0])
        elif manifest.is_list and manifest.name:
            lists.setdefault(ConfigMapKey(manifest.namespace, manifest.name), config_map_data(manifest.raw)[0])
    return World(resources, secret_values, config_maps=lists)


def _resource(manifest: Manifest, key: ObjectKey, generation: int) -> Resource:
    uid = _text(manifest.metadata.get("uid"))
    return Resource(key, stored_spec(key.kind, manifest.raw.get("spec")), generation, uid)


def _read_file(path: Path) -> Iterator[Manifest | Problem]:
    try:
        content = content_of(path)
    except OSError as error:
        yield Problem(str(path), 1, f"cannot be read: {error.strerror or error}", reason="Unreadable")
        return
    text = text_of(content, str(path))
    if isinstance(text, Problem):
        yield text
    else:
        yield from read_manifests(text, str(path))


def content_of(path: Path) -> bytes:
    """All of a file, or more than one may have; raises OSError. Unbuffered: there may be tens of thousands of them."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _FEW_BYTES)
        while content and len(content) <= MAX_FILE_BYTES and (more := os.read(descriptor, _FEW_BYTES)):
            content += more
        return content
    finally:
        os.close(descriptor)


def text_of(content: bytes, file: str) -> str | Problem:
    """The text of a file, or why there is none."""
    if len(content) > MAX_FILE_BYTES:
        limit = f"larger than {MAX_FILE_BYTES // 1024 // 1024} MiB"
        return Problem(file, 1, limit, expected="split it", reason="Unreadable")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return Problem(file, line, "not UTF-8", expected="save the file as UTF-8", reason="Unreadable")


def read_manifests(text: str, file: str, first_line: int = 1) -> Iterator[Manifest | Problem]:
    """The objects in the text of one file (or from one of its lines on), and what is wrong with it."""
    for document in read_documents(_without_surrogates(text) if file.endswith(".json") else text, first_line):
        if isinstance(document, YamlProblem):
            line, column = document.position
            yield Problem(file, line, document.message, reason="Unreadable", column=column)
        else:
            yield from _objects(document.value, Manifest(file, {}, document), ())


def _without_surrogates(text: str) -> str:
    r"""JSON writes what lies beyond U+FFFF as two escapes (`\ud83d\ude00`), which YAML does not know."""
    return _JSON_ESCAPE.sub(_one_character, text)


def _one_character(escape: re.Match[str]) -> str:
    if escape["high"] is None:
        return escape[0]
    return chr(0x10000 + ((int(escape["high"], 16) & 0x3FF) << 10) + (int(escape["low"], 16) & 0x3FF))


def _objects(value: Any, whole: Manifest, within: FieldPath) -> Iterator[Manifest | Problem]:
    """The object at `within`, or those of a List."""
    if not isinstance(value, dict):
        line, column = whole.position_of(within)
        hint = "write apiVersion, kind and metadata"
        yield Problem(whole.file, line, "not a Kubernetes object", expected=hint, column=column)
        return
    manifest = Manifest(whole.file, value, whole.document, within)
    items = value.get("items")
    if manifest.kind.endswith("List") and isinstance(items, list):
        if within:
            yield manifest.problem("kind", "a List inside a List", expected="put its items into the outer one")
            return
        for index, item in enumerate(items):
            yield from _objects(item, whole, ("items", index))
        return
    refused = _identity_problem(manifest)
    yield manifest if refused is None else refused


def _identity_problem(manifest: Manifest) -> Problem | None:
    """None for what is Tidegate's own, an error for what misses it narrowly, a note for everything else."""
    for name, value in (("apiVersion", manifest.api_version), ("kind", manifest.kind)):
        if not value:
            return manifest.problem(name, "required", expected=f"such as {_EXAMPLES[name]}")
    group = manifest.api_version.partition("/")[0]
    if group == _GROUP:
        if manifest.api_version != API_VERSION:
            return manifest.problem("apiVersion", "unknown version of the API", expected=f"write {API_VERSION}")
        if manifest.kind not in set(Kind):
            return manifest.problem("kind", "unknown kind", expected=f"must be one of {', '.join(sorted(Kind))}")
        return None
    if manifest.kind in set(Kind):
        return manifest.problem("apiVersion", f"{manifest.kind} is of another group", expected=f"write {API_VERSION}")
    if manifest.is_secret or manifest.is_list:
        return None
    note = f"ignored: {manifest.kind} of {manifest.api_version} is none of Tidegate's kinds"
    return manifest.problem((), note, reason="Ignored", severity=Severity.WARNING)


def name_problems(manifest: Manifest) -> Iterator[Problem]:
    """What keeps an object from having an identity."""
    metadata = manifest.metadata
    for field_name, pattern, longest in (("name", SUBDOMAIN_PATTERN, 253), ("namespace", LABEL_PATTERN, 63)):
        path, value = f"metadata.{field_name}", metadata.get(field_name)
        if value is None or (value == "" and field_name == "name"):
            if field_name == "name":
                yield manifest.problem(path, "required", expected="every object has a name")
        elif not isinstance(value, str):
            yield manifest.problem(path, "wrong type", expected="must be text; put it in quotes")
        elif value and (len(value) > longest or not re.fullmatch(pattern, value) or value.endswith("\n")):
            words = f"must be {PATTERN_WORDS[pattern]}, at most {longest} characters"
            yield manifest.problem(path, "not a valid name", expected=words)


def _duplicates(documents: Iterable[Manifest]) -> Iterator[Problem]:
    first: dict[tuple[str, str, str], Manifest] = {}
    for manifest in documents:
        if not manifest.name:
            continue
        earlier = first.setdefault((manifest.kind, manifest.namespace, manifest.name), manifest)
        if earlier is not manifest:
            where = f"{earlier.file}:{earlier.line_of('metadata.name')}"
            yield manifest.problem(
                "metadata.name",
                f"the same object stands in {where} already",
                expected="keep one, or give it another name",
                reason="Duplicate",
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
