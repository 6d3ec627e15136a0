"""One pass over a corpus: at the door one by one, then all that came in together, before a real operator."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cluster.harness.apiserver import ApiServer
from cluster.harness.objects import PLURALS, collection_of
from cluster.harness.processes import ChildProcess, wait_until
from cluster.misuse.corpus import Mutant
from cluster.misuse.judges import API, AtTheDoor, against, at_the_door, in_the_world, judged, offline, operators_words
from cluster.misuse.mutations import text_of
from cluster.misuse.world import Base

THREADS = 6

# What the offline judge refuses although an API server would take it, by mutation. Each with its reason.
STRICTER: dict[str, str] = {
    "a tag of one's own": "the reader drops the tag in silence; a tool that knows it (Helm, kustomize) means something",
    "a binary tag": "the reader decodes it, others keep the letters: what is meant depends on who reads",
    "a set tag": "the reader makes a map of nulls of it, which no field of ours takes as it is meant",
}


@dataclass
class Pass:
    """What came of it. `words` are the operator's, `offline` those of `tidegate validate`, by object."""

    doors: list[AtTheDoor] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    offline: dict[str, list[str]] = field(default_factory=dict)

    @property
    def disagreements(self) -> list[str]:
        """Where the judges differ, but for what is stricter on purpose."""
        found = [str(door) for door in self.doors if not door.agree and not self._settled(door)]
        for name, said in self.words.items():
            if bool(said) != bool(self.offline.get(name)):
                found.append(f"{name}\n  operator: {said or 'fine'}\n  offline: {self.offline.get(name, 'fine')}")
        return found

    def _settled(self, door: AtTheDoor) -> bool:
        """Offline says at once what the operator says later, or is stricter on purpose."""
        return bool(door.offline) and (_on_purpose(door) or bool(self.words.get(door.mutant.base.key)))


def _on_purpose(door: AtTheDoor) -> bool:
    return door.mutant.mutation in STRICTER and bool(door.offline)


def prepare(server: ApiServer, rounds: Sequence[tuple[list[Base], list[Mutant]]]) -> None:
    """The namespaces of all rounds."""
    names = sorted({base.namespace for objects, _ in rounds for base in objects})
    server.admin.for_each(server.ensure_namespace, names, threads=THREADS)


def at_the_doors(server: ApiServer, mutants: Sequence[Mutant], folder: Path) -> list[AtTheDoor]:
    """Both judges of the door on every mutant; their files are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for mutant in mutants:
        (folder / mutant.file).write_bytes(mutant.text)
    with ThreadPoolExecutor(THREADS) as pool:
        said = list(pool.map(lambda mutant: at_the_door(server, mutant), mutants))
    return [
        AtTheDoor(mutant, offline(folder / mutant.file), refusal) for mutant, refusal in zip(mutants, said, strict=True)
    ]


def live(
    server: ApiServer,
    operator: ChildProcess,
    rounds: Sequence[tuple[list[Base], list[Mutant]]],
    doors: Sequence[AtTheDoor],
    folder: Path,
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Put in what the door takes, the others as they were; what operator and `tidegate validate` say of each object."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = {id(door.mutant) for door in doors if not door.server and not _on_purpose(door)}
    requests: list[tuple[str, bytes | dict[str, object]]] = []
    for objects, mutants in rounds:
        misused = {str(mutant.base): mutant for mutant in mutants if id(mutant) in taken}
        for base in sorted(objects, key=lambda base: base.ours):
            mutant = misused.get(str(base))
            if mutant is None:
                requests.append((collection_of(base.tree), base.tree))
            else:
                requests.append((f"{API}/namespaces/{base.namespace}/{PLURALS[base.kind]}", mutant.text))
            name = f"{base.example}-{base.namespace}-{base.kind}-{base.name}.yaml"
            (folder / name).write_bytes(text_of(base.tree).encode() if mutant is None else mutant.text)

    def create(request: tuple[str, bytes | dict[str, object]]) -> None:
        kind = "application/yaml" if isinstance(request[1], bytes) else "application/json"
        server.admin.request("POST", request[0], request[1], content_type=kind)

    server.admin.for_each(create, requests, threads=THREADS)
    wait_until(
        lambda: all(judged(item) for item in operators_words(server.admin).values()),
        what="every object to be judged",
        deadline=60.0,
        process=operator,
    )
    words = {name: against(item) for name, item in operators_words(server.admin).items()}
    problems = in_the_world(folder)
    return words, {name: [str(problem) for problem in found] for name, found in problems.items()}
