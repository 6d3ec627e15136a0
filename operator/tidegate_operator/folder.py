"""A folder of manifests as a World that lives through edits: generations count up, a broken file keeps its objects.

What an API server does for the operator, this does for `tidegate serve`. Reads files; everything else is in memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidegate_operator.manifests import Loaded, Manifest, load_paths, to_world
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.world import ObjectKey, Resource, SecretKey, World


@dataclass(frozen=True, slots=True)
class Reading:
    """What the folder holds. `manifests` tell where each object stands; `kept` are files served as last readable."""

    world: World
    manifests: Mapping[ObjectKey, Manifest]
    secret_manifests: Mapping[SecretKey, Manifest]
    problems: tuple[Problem, ...]
    files: tuple[str, ...]
    kept: tuple[str, ...] = ()


@dataclass(slots=True)
class Folder:
    """Reads `paths` again and again.

    An object that did not change is the very same Resource as before (the compiler's memo rests on that); a change of
    its spec raises its generation; one that was away and comes back is a new object, with a new uid.
    """

    paths: tuple[Path, ...]
    _resources: dict[ObjectKey, Resource] = field(default_factory=dict)
    _documents: dict[str, tuple[Manifest, ...]] = field(default_factory=dict)
    _births: int = 0

    def read(self) -> Reading:
        """Read all files. Raises FileNotFoundError when a path is gone."""
        loaded = load_paths(self.paths)
        broken = {problem.file for problem in loaded.problems if _breaks_its_file(problem)}
        documents = self._with_last_readable(loaded, broken)
        world = to_world(Loaded(documents, loaded.problems, loaded.files))
        self._resources = {key: self._aged(key, resource) for key, resource in world.resources.items()}
        manifests: dict[ObjectKey, Manifest] = {}
        secret_manifests: dict[SecretKey, Manifest] = {}
        for manifest in documents:
            if manifest.key is not None:
                manifests.setdefault(manifest.key, manifest)
            elif manifest.is_secret:
                secret_manifests.setdefault(SecretKey(manifest.namespace, manifest.name), manifest)
        return Reading(
            replace(world, resources=dict(self._resources)),
            manifests,
            secret_manifests,
            loaded.problems,
            loaded.files,
            tuple(sorted(broken & self._documents.keys())),
        )

    def _with_last_readable(self, loaded: Loaded, broken: Iterable[str]) -> tuple[Manifest, ...]:
        """The documents of all files; of a broken one also those that it had when it was last whole."""
        now: dict[str, list[Manifest]] = {file: [] for file in loaded.files}
        for manifest in loaded.documents:
            now.setdefault(manifest.file, []).append(manifest)
        for file in broken:
            present = {_identity(manifest) for manifest in now.get(file, [])}
            lost = [manifest for manifest in self._documents.get(file, ()) if _identity(manifest) not in present]
            now.setdefault(file, []).extend(lost)
        self._documents = {file: tuple(manifests) for file, manifests in now.items()}
        return tuple(manifest for manifests in now.values() for manifest in manifests)

    def _aged(self, key: ObjectKey, resource: Resource) -> Resource:
        before = self._resources.get(key)
        if before is None:
            self._births += 1
            return replace(resource, uid=f"folder-{self._births}", generation=1)
        if before.spec == resource.spec:
            return before
        return replace(resource, uid=before.uid, generation=before.generation + 1)


def _breaks_its_file(problem: Problem) -> bool:
    return problem.severity is Severity.ERROR and problem.reason != "Duplicate"


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return (manifest.kind, manifest.namespace, manifest.name)
