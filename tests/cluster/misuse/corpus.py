"""The corpus: every mutation, on objects of the examples, in rounds that do not meet. One seed, one corpus."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.misuse.mutations import ON_TEXT, ON_TREE, text_of
from cluster.misuse.world import Base, bases

SEED = int(os.environ.get("TIDEGATE_MISUSE_SEED", "6"))


@dataclass(frozen=True)
class Mutant:
    """An object of an example, misused. `text` is what stands in the file, which may not be UTF-8."""

    mutation: str
    base: Base
    round: int
    text: bytes

    @property
    def file(self) -> str:
        """The name of its file, unique in the corpus."""
        extension = "json" if self.mutation.startswith("JSON") else "yaml"
        return f"{self.base.example}-{self.round:02}-{self.base.kind}-{self.base.name}.{extension}"

    def __str__(self) -> str:
        return f"{self.mutation}: {self.base}"


def corpus(rounds: int, seed: int = SEED) -> Iterator[tuple[list[Base], list[Mutant]]]:
    """For each round all its objects, and a mutant of each that is Tidegate's own. Mutations take turns."""
    names = [*ON_TREE, *ON_TEXT]
    random.Random(seed).shuffle(names)
    turn = 0
    for number in range(rounds):
        objects = bases(number)
        mutants = []
        for base in objects:
            if base.ours:
                mutants.append(_mutant(names[turn % len(names)], base, number, seed + turn))
                turn += 1
        yield objects, mutants


def _mutant(name: str, base: Base, number: int, seed: int) -> Mutant:
    chance = random.Random(seed)
    if name in ON_TREE:
        tree = copy.deepcopy(base.tree)
        ON_TREE[name](tree, chance)
        text: str | bytes = text_of(tree)
    else:
        text = ON_TEXT[name](text_of(base.tree), chance)
    return Mutant(name, base, number, text if isinstance(text, bytes) else text.encode())
