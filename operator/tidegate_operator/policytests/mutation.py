"""Do tests notice when a policy goes wrong? Each wrong is done, alone, in memory, and the tests are run against it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tidegate_dataplane.runtime import BuildError
from tidegate_operator.compile import CompileError
from tidegate_operator.policytests.mutants import Mutant, all_mutants
from tidegate_operator.policytests.running import run_case
from tidegate_operator.policytests.suite import Subject


@dataclass(frozen=True, slots=True)
class Survivor:
    """A wrong that no test noticed."""

    place: str
    object: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.object}: {self.what}"


@dataclass(frozen=True, slots=True)
class Mutation:
    """How many wrongs were done and noticed. `impossible`: those that no cluster would take, which were not tried."""

    tried: int
    impossible: int
    survivors: tuple[Survivor, ...]
    seconds: float

    @property
    def killed(self) -> int:
        return self.tried - len(self.survivors)


def mutate(subjects: list[Subject], progress: Callable[[int], object] = lambda done: None) -> Mutation:
    """Try every wrong on every world. The tests must all pass in the world as it is."""
    started = time.perf_counter()
    tried = impossible = 0
    noticed: dict[Survivor, bool] = {}
    for subject in subjects:
        for mutant in all_mutants(subject.folder.world):
            found = _is_noticed(subject, mutant)
            if found is None:
                impossible += 1
                continue
            tried += 1
            progress(tried)
            survivor = _survivor(subject, mutant)
            noticed[survivor] = noticed.get(survivor, False) or found
    survivors = tuple(one for one, found in noticed.items() if not found)
    return Mutation(len(noticed), impossible, tuple(sorted(survivors, key=str)), time.perf_counter() - started)


def _is_noticed(subject: Subject, mutant: Mutant) -> bool | None:
    """Whether a test fails that passed before; None when the wrong is none that could be applied."""
    before = subject.folder.world
    resource = before.resources[mutant.key]
    wrong = replace(resource, spec=mutant.spec, generation=resource.generation + 1)
    world = replace(before, resources={**before.resources, mutant.key: wrong})
    try:
        compiled, runtime = subject.bench.runtime_of(world, subject.folder.runtime)
    except (CompileError, BuildError):
        return None
    if compiled.verdicts[mutant.key].errors:
        return None
    return any(not run_case(runtime, case).passed for case in subject.cases)


def _survivor(subject: Subject, mutant: Mutant) -> Survivor:
    place = subject.folder.provenance.field(str(mutant.key), mutant.field)
    return Survivor(str(place or ""), str(mutant.key), mutant.what)
