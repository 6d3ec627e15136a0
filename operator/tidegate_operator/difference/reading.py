"""Both sides of a change read from their files: what is the same on both is read once, and is the very same object."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate_crds.v1alpha1.shapes import LABEL_PATTERN, SUBDOMAIN_PATTERN
from tidegate_operator.manifests import API_VERSION, DEFAULT_NAMESPACE, Manifest, name_problems, read_manifests, text_of
from tidegate_operator.offline.secret_data import config_map_data, secret_data
from tidegate_operator.offline.stored_form import stored_spec
from tidegate_operator.plain_yaml import PlainReader
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.world import ConfigMapKey, Kind, ObjectKey, Resource, SecretKey, World
from tidegate_operator.yaml_documents import split_documents

_KINDS = {kind.value: kind for kind in Kind}
_LONGEST_NAME, _LONGEST_NAMESPACE = 253, 63

Item = Resource | Manifest | Problem


@dataclass(frozen=True, slots=True)
class Content:
    """What one side holds. `problems` are errors alone; `files` counts what was read."""

    world: World
    problems: tuple[Problem, ...]
    files: int


@dataclass(slots=True)
class Reader:
    """Reads sides, one after another, remembering files and documents."""

    _plain: PlainReader = field(default_factory=PlainReader)
    _files: dict[tuple[str, bytes], tuple[Item, ...]] = field(default_factory=dict)
    _documents: dict[str, Resource | None] = field(default_factory=dict)

    def read(self, files: Iterable[tuple[str, bytes]]) -> Content:
        """A side from the paths (as problems name them) and contents of its files."""
        gathered = _Gathered()
        count = 0
        for path, content in files:
            count += 1
            name = path, content
            items = self._files.get(name)
            if items is None:
                items = self._files[name] = tuple(self._items(path, content))
            for item in items:
                gathered.add(item, path)
        world = World(gathered.resources, gathered.secrets, config_maps=gathered.lists)
        return Content(world, tuple(gathered.problems), count)

    def _items(self, path: str, content: bytes) -> Iterable[Item]:
        text = text_of(content, path)
        if isinstance(text, Problem):
            return (text,)
        if path.endswith(".json"):
            return read_manifests(text, path)
        found: list[Item] = []
        for part, line in split_documents(text):
            resource = self._documents.get(part)
            if resource is None and part not in self._documents:
                resource = self._documents[part] = self._resource(part)
            if resource is None:
                found += read_manifests(part, path, line)
            else:
                found.append(resource)
        return found

    def _resource(self, text: str) -> Resource | None:
        """One of Tidegate's objects in a plain document with a name; None for all else, which is looked at closely."""
        value = self._plain.read(text)
        if value is None or value.get("apiVersion") != API_VERSION:
            return None
        kind, metadata = value.get("kind"), value.get("metadata")
        if not (isinstance(kind, str) and kind in _KINDS and isinstance(metadata, dict)):
            return None
        key = _key(_KINDS[kind], metadata)
        uid = metadata.get("uid", "")
        if key is None or not isinstance(uid, str):
            return None
        return Resource(key, stored_spec(key.kind, value.get("spec")), uid=uid)


def _key(kind: Kind, metadata: Mapping[str, Any]) -> ObjectKey | None:
    name, namespace = metadata.get("name"), metadata.get("namespace", DEFAULT_NAMESPACE)
    if not (isinstance(name, str) and isinstance(namespace, str)):
        return None
    well_named = len(name) <= _LONGEST_NAME and re.fullmatch(SUBDOMAIN_PATTERN, name)
    if not well_named or len(namespace) > _LONGEST_NAMESPACE or not re.fullmatch(LABEL_PATTERN, namespace):
        return None
    return ObjectKey(kind, namespace, name)


class _Gathered:
    """Of two objects with one identity the first counts, as in `to_world`."""

    def __init__(self) -> None:
        self.resources: dict[ObjectKey, Resource] = {}
        self.secrets: dict[SecretKey, Mapping[str, bytes]] = {}
        self.lists: dict[ConfigMapKey, Mapping[str, bytes]] = {}
        self.problems: list[Problem] = []

    def add(self, item: Item, path: str) -> None:
        if isinstance(item, Resource):
            self._resource(item, path)
        elif isinstance(item, Problem):
            if item.severity is Severity.ERROR:
                self.problems.append(item)
        else:
            self._manifest(item, path)

    def _resource(self, resource: Resource, path: str) -> None:
        if resource.key in self.resources:
            message = "the same object stands in an earlier document already"
            expected = "keep one, or give it another name"
            self.problems.append(
                Problem(path, 1, message, "metadata.name", expected, str(resource.key), reason="Duplicate")
            )
        else:
            self.resources[resource.key] = resource

    def _manifest(self, manifest: Manifest, path: str) -> None:
        self.problems += name_problems(manifest)
        key = manifest.key
        if key is not None:
            uid = manifest.metadata.get("uid")
            spec = stored_spec(key.kind, manifest.raw.get("spec"))
            self._resource(Resource(key, spec, uid=uid if isinstance(uid, str) else ""), path)
        elif manifest.is_secret and manifest.name:
            self.secrets.setdefault(SecretKey(manifest.namespace, manifest.name), secret_data(manifest.raw)[0])
        elif manifest.is_list and manifest.name:
            self.lists.setdefault(ConfigMapKey(manifest.namespace, manifest.name), config_map_data(manifest.raw)[0])
