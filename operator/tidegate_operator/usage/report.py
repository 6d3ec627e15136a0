"""A tally as a table, as JSON and as CSV. Dollars are exact decimals."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tidegate_operator.printable import printable
from tidegate_operator.usage.tally import Sums, Tally

_MICRO: Final = 1_000_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_ALWAYS: Final = frozenset({"requests", "input", "output", "costUsd"})
_HEADS: Final = {"costUsd": "COST USD", "overageUsd": "OVERAGE USD", "unpricedTokens": "UNPRICED TOKENS"}


def dollars(micro: int) -> str:
    """US dollars with six digits after the point."""
    return f"{micro // _MICRO}.{micro % _MICRO:06d}"


def figures(sums: Sums) -> dict[str, int | str]:
    """What JSON and CSV say of a group."""
    return {
        "requests": sums.requests,
        "refused": sums.refused,
        "input": sums.input,
        "output": sums.output,
        "cached": sums.cached,
        "counted": sums.counted,
        "estimated": sums.estimated,
        "costUsd": dollars(sums.cost),
        "overageUsd": dollars(sums.overage),
        "unpriced": sums.unpriced,
        "unpricedTokens": sums.unpriced_tokens,
    }


def as_json(tally: Tally, told: Mapping[str, Any]) -> str:
    """`{"by": [...], "rows": [{each dimension, each figure}], "total": {...}}` and what is `told` besides."""
    rows: list[dict[str, int | str]] = [
        {**dict(zip(tally.by, group, strict=True)), **figures(sums)} for group, sums in sorted(tally.groups.items())
    ]
    body = {"by": tally.by, "rows": rows, "total": figures(tally.total), **told}
    return msgspec.json.format(msgspec.json.encode(body)).decode()


def as_csv(tally: Tally) -> str:
    """A header and a line for each group (RFC 4180). What a spreadsheet would take for a formula gets a ' before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*tally.by, *figures(Sums())])
    for group, sums in sorted(tally.groups.items()):
        writer.writerow([*map(_harmless, group), *figures(sums).values()])
    return text.getvalue()


def as_table(tally: Tally) -> str:
    """For people. Figures that are nothing in every row are left out."""
    total = figures(tally.total)
    shown = [name for name in total if name in _ALWAYS or total[name] not in (0, "0.000000")]
    heads = [*(name.upper() for name in tally.by), *(_HEADS.get(name, name.upper()) for name in shown)]
    rows = [
        [*(printable(value) or "-" for value in group), *_cells(_shown(sums), shown)]
        for group, sums in sorted(tally.groups.items())
    ]
    if tally.by:
        rows.append(["total", *[""] * (len(tally.by) - 1), *_cells(_shown(tally.total), shown)])
    return _aligned(heads, rows or [_cells(_shown(tally.total), shown)], left=len(tally.by))


def _shown(sums: Sums) -> dict[str, int | str]:
    """Nobody should read a price that is not known as nothing."""
    found = figures(sums)
    return {**found, "costUsd": "unknown"} if sums.unpriced and not sums.cost else found


def _cells(figures: Mapping[str, int | str], shown: Sequence[str]) -> list[str]:
    return [f"{value:,}" if isinstance(value := figures[name], int) else value for name in shown]


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if position < left else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    )


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
