"""The difference for a comment on a pull request. What others wrote is never markup there."""

import re
from collections.abc import Iterator

from tidegate_operator.difference.as_text import sections, summary
from tidegate_operator.difference.effect import Difference, Effect

MOST_CHARACTERS = 60_000
"""GitHub takes 65,536 characters in a comment."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!@&])")


def as_markdown(difference: Difference) -> str:
    """A headline, then what is lost in the open and the rest folded, cluster by cluster."""
    text = "\n".join(_lines(difference))
    if len(text) <= MOST_CHARACTERS:
        return text
    cut = text[:MOST_CHARACTERS].rpartition("\n")[0]
    closing = "\n\n</details>" if cut.count("<details>") > cut.count("</details>") else ""
    return f"{cut}{closing}\n\nThe rest did not fit in a comment: run `tidegate diff` with `--output json`.\n"


def _lines(difference: Difference) -> Iterator[str]:
    yield "## What this change does"
    yield ""
    yield f"{_safe(difference.old)} → {_safe(difference.new)}, decided at {difference.at}"
    for effect in difference.effects:
        yield ""
        yield f"### {_safe(effect.cluster)}" if effect.cluster else "### Effect"
        yield ""
        yield f"**{_safe(summary(effect))}**"
        yield from _effect(effect)
    yield ""


def _effect(effect: Effect) -> Iterator[str]:
    for title, rows in sections(effect):
        heading = _safe(title.removesuffix(":").capitalize())
        folded = title not in ("loses access:", "refused:")
        yield ""
        if folded:
            count = sum(not row.startswith("  ") for row in rows)
            yield f"<details><summary>{heading} ({count})</summary>"
        else:
            yield f"**{heading}**"
        yield ""
        for row in rows:
            indent = "  " if row.startswith("  ") else ""
            yield f"{indent}- {_safe(row.strip())}"
        if folded:
            yield ""
            yield "</details>"


def _safe(text: str) -> str:
    r"""Text as text: every sign that Markdown, HTML or a mention begins with is written so that it is only a sign."""
    one_line = " ".join(text.split())
    return _MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", one_line)
