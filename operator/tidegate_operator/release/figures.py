"""Asks data planes what they counted since a trial began, and adds it up for those that try and for the others."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping

import aiohttp
import msgspec

from tidegate_dataplane.trial import LATENCY_BOUNDS, RevisionTally, Tally, TrialReport
from tidegate_operator.release.gates import Side

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0


async def ask_all(urls: Collection[str], session: aiohttp.ClientSession) -> dict[str, TrialReport]:
    """What each that answers has counted, by its admin address."""
    asked = list(urls)
    found = await asyncio.gather(*(_ask(url, session) for url in asked))
    return {url: report for url, report in zip(asked, found, strict=True) if report is not None}


def sides(reports: Mapping[str, TrialReport], trial: int, revisions: Collection[int]) -> tuple[Side, Side]:
    """What was counted in that trial under `revisions`, which are tried, and under all others."""
    tallies = [
        (revision in revisions, tally)
        for report in reports.values()
        if report.trial == trial
        for revision, tally in report.revisions.items()
    ]
    return _side(tally for tried, tally in tallies if tried), _side(tally for tried, tally in tallies if not tried)


def _side(tallies: Iterable[RevisionTally]) -> Side:
    total, latency = Tally(), [0] * (len(LATENCY_BOUNDS) + 1)
    consumers: dict[str, Tally] = {}
    for tally in tallies:
        _add(total, tally.total)
        for name, each in tally.consumers.items():
            _add(consumers.setdefault(name, Tally()), each)
        for place, count in enumerate(tally.latency[: len(latency)]):
            latency[place] += count
    return Side(total, consumers, tuple(latency))


def _add(to: Tally, other: Tally) -> None:
    to.served += other.served
    to.denied += other.denied
    to.limited += other.limited
    to.failed += other.failed


async def _ask(url: str, session: aiohttp.ClientSession) -> TrialReport | None:
    try:
        async with session.get(f"{url}/-/rollout") as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=TrialReport)
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
        _log.debug("data plane %s did not tell what it counted: %s", url, error or type(error).__name__)
        return None
