"""What is held back, and what is kept, for metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Standing:
    """`pinned` is the revision that was rolled back to and `tried` the one that some data planes try, 0 for none.

    `held` counts objects by the reason that they give, `faults` what of the wish is not understood, or cannot be done.
    """

    pinned: int = 0
    frozen: bool = False
    faults: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0
    kept_bytes: int = 0
    tried: int = 0
