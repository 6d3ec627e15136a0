"""The operator's part in `tidegate serve`: a folder, compiled again after every edit. No cluster, no terminal."""

from dataclasses import dataclass, field

from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_operator.compile import Compiled, Memo, compile_world, make_bundle
from tidegate_operator.folder import Folder, Reading
from tidegate_operator.world import Facts


@dataclass(frozen=True, slots=True)
class Revision:
    """The folder at one moment. `number` counts snapshots that differ; `bundle` is the snapshot of `compiled`."""

    number: int
    reading: Reading
    compiled: Compiled
    bundle: Bundle


@dataclass(slots=True)
class EmbeddedOperator:
    """Compiles a folder; the last good form of every object is carried from one revision to the next."""

    folder: Folder
    facts: Facts
    current: Revision | None = None
    _memo: Memo = field(default_factory=Memo)

    def refresh(self) -> Revision:
        """Read and compile the folder; the number rises only when what is served differs.

        Raises FileNotFoundError when the folder is gone, CompileError when the whole cannot be published.
        """
        before = self.current
        reading = self.folder.read()
        served = before.compiled.served if before is not None else None
        compiled = compile_world(reading.world, self.facts, served, self._memo)
        same = before is not None and before.compiled.shards == compiled.shards
        number = 1 if before is None else before.number + (not same)
        bundle = before.bundle if before is not None and same else make_bundle(compiled, self.facts, number)
        self.current = Revision(number, reading, compiled, bundle)
        return self.current
