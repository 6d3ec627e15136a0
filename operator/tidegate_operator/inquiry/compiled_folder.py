"""A folder, compiled and built as `tidegate serve` would, and where each of its objects stands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.codec import decode_shard
from tidegate_operator.compile import Compiled, Memo, compile_world
from tidegate_operator.compile.publication import make_index
from tidegate_operator.field_path import field_path
from tidegate_operator.inquiry.provenance import Provenance
from tidegate_operator.manifests import Loaded, load_paths, to_world
from tidegate_operator.problems import Severity
from tidegate_operator.verdicts import Finding
from tidegate_operator.world import Facts, ObjectKey, World


@dataclass(frozen=True, slots=True)
class CompiledFolder:
    """What a gateway that runs from these files decides by.

    `problems` say, a line each, which objects are not served as written; `unresolved` what they refer to in vain.
    """

    world: World
    runtime: Runtime
    provenance: Provenance
    problems: tuple[str, ...]
    unresolved: tuple[str, ...]


@dataclass(slots=True)
class Workbench:
    """Compiles World after World, each from what it shares with the one before."""

    facts: Facts
    _memo: Memo = field(default_factory=Memo)
    _revision: int = 0

    def runtime_of(self, world: World, previous: Runtime | None = None) -> tuple[Compiled, Runtime]:
        """Compile and build. Raises CompileError and BuildError."""
        compiled = compile_world(world, self.facts, None, self._memo)
        self._revision += 1
        index = make_index(compiled, self.facts, self._revision)
        known = {} if previous is None else {ref.name: ref.sha256 for ref in previous.index.shards}
        shards = {
            shard.name: decode_shard(shard.data, name=shard.name, sha256=shard.sha256)
            for shard in compiled.shards
            if known.get(shard.name) != shard.sha256
        }
        return compiled, build(index, shards, previous)


def compile_folder(paths: Iterable[str | Path], facts: Facts) -> CompiledFolder:
    """Read files, and folders recursively. Raises FileNotFoundError, CompileError and BuildError."""
    return compile_loaded(load_paths(paths), Workbench(facts))


def compile_loaded(loaded: Loaded, bench: Workbench) -> CompiledFolder:
    """The same for what was read already."""
    world = to_world(loaded)
    compiled, runtime = bench.runtime_of(world)
    provenance = Provenance(manifest for manifest in loaded.documents if manifest.key is not None)
    unreadable = [str(problem) for problem in loaded.problems if problem.severity is Severity.ERROR]
    verdicts = sorted(compiled.verdicts.items())
    errors = [_line(key, finding, provenance) for key, one in verdicts for finding in one.errors]
    unresolved = [_line(key, finding, provenance) for key, one in verdicts for finding in one.unresolved]
    return CompiledFolder(world, runtime, provenance, (*unreadable, *errors), tuple(unresolved))


def _line(key: ObjectKey, finding: Finding, provenance: Provenance) -> str:
    place = provenance.field(str(key), field_path(finding.field))
    return f"{place}: {key}: {finding.field}: {finding.message}"
