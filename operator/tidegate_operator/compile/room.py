"""Who has to give way where there is not enough room for all: whoever takes most of it, and nobody else. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tidegate_operator.world import ObjectKey


class Piece(NamedTuple):
    """Something of one object that takes room, in bytes."""

    owner: ObjectKey
    size: int


def displaced(pieces: Iterable[Piece], room: int) -> list[ObjectKey]:
    """What must be left out for the rest to fit: of the namespace that takes most, the largest; and so on.

    A namespace is a tenant: however much one of them writes, what it displaces is its own.
    """
    waiting: dict[str, list[Piece]] = defaultdict(list)
    for piece in sorted(pieces, key=lambda piece: (piece.size, piece.owner)):
        waiting[piece.owner.namespace].append(piece)
    taken = {namespace: sum(piece.size for piece in found) for namespace, found in waiting.items()}
    found: list[ObjectKey] = []
    while waiting and sum(taken.values()) > room:
        largest = max(taken, key=lambda namespace: (taken[namespace], namespace))
        piece = waiting[largest].pop()
        found.append(piece.owner)
        taken[largest] -= piece.size
        if not waiting[largest]:
            del waiting[largest], taken[largest]
    return found
