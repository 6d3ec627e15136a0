"""The smallest changes that would let a refused call in."""

from tidegate_dataplane.engine.remedies.advice import Advice, Remedy, Side
from tidegate_dataplane.engine.remedies.search import MAX_EVALUATIONS, Found, find_remedies
from tidegate_dataplane.engine.remedies.whatif import Situation

__all__ = ["MAX_EVALUATIONS", "Advice", "Found", "Remedy", "Side", "Situation", "find_remedies"]
