"""Staged roll-out: what is new runs on some data planes first, and goes to all when its figures are no worse.

One trial at a time: what is declared meanwhile waits for its outcome, else a change a minute would never let one pass.
What somebody may not do any more never waits: closings go to all at once, and into the trial too.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

import aiohttp

from tidegate_operator.compile.compiled import Compiled
from tidegate_operator.compile.secret_values import Secrets
from tidegate_operator.conditions import Held, PlaneReport, ProgrammedReason
from tidegate_operator.release.closing import Closer
from tidegate_operator.release.content import Content, agree, compiled_content
from tidegate_operator.release.figures import TIMEOUT_SECONDS, ask_all, sides
from tidegate_operator.release.gates import Failure, Gates, count, judge_trial
from tidegate_operator.release.history import Why
from tidegate_operator.release.planning import Plan, Staged, as_compiled, held_back, waiting
from tidegate_operator.release.stage import NO_STAGE, Phase, Stage

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# So long a data plane may take to run what it is given, and so long all that try may be gone.
TAKE_SECONDS = 20.0
_NOT_SERVED = "NotServed"


@dataclass(frozen=True, slots=True)
class Staging:
    """How a roll-out is staged: on which share of the data planes first, for so many seconds."""

    share: float = 0.25
    seconds: float = 30.0
    gates: Gates = field(default_factory=Gates)


@dataclass(slots=True)
class _Trial:
    """One trial. `revisions` are the numbers that it was published as; `since` is when a data plane first ran one."""

    content: Content
    planes: tuple[str, ...]
    begun: float
    revisions: set[int] = field(default_factory=set)
    since: float | None = None
    seen: float = 0.0
    passed: bool = False
    promoting: bool = False
    moved: bool = False
    failure: Failure | None = None
    calls: int = 0

    @property
    def number(self) -> int:
        return min(self.revisions, default=0)


class Stager:
    """Belongs to the loop of a leading operator: `plan` and `published` are called from there, `run` watches."""

    def __init__(
        self,
        options: Staging,
        *,
        reports: Callable[[], Iterable[PlaneReport]],
        urls: Callable[[], Collection[str]],
        on_outcome: Callable[[], None],
        on_stop: Callable[[str], None],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reports` and `urls` are of the data planes that answer. `on_outcome` is called when a trial is over,
        `on_stop` with the gate when it failed."""
        self._options = options
        self._reports = reports
        self._urls = urls
        self._on_outcome = on_outcome
        self._on_stop = on_stop
        self._now = now
        self._clock = clock
        self._closer, self._trial_closer = Closer(), Closer()
        self._trial: _Trial | None = None
        self._stopped: Stage = NO_STAGE
        self._wakeup = asyncio.Event()

    @property
    def tried(self) -> int:
        """The revision that is tried now; 0 for none."""
        return max(self._trial.revisions, default=0) if self._trial is not None else 0

    def recover(self, stage: Stage) -> None:
        """Begin a term of leadership. A trial that was on is begun anew; a content that failed stays out."""
        self._trial = None
        self._stopped = stage if stage.phase is Phase.STOPPED else NO_STAGE

    def reset(self) -> None:
        """Leadership was lost: whoever leads now decides."""
        self._trial, self._stopped = None, NO_STAGE

    def drop(self) -> None:
        """Somebody decided otherwise: nothing is tried any more."""
        if self._trial is not None:
            _log.warning("the trial of revision %d is over: something else is published", self.tried)
        self._trial = None

    def plan(self, compiled: Compiled, live: Content | None, secrets: Secrets) -> Plan | None:
        """What to publish to all, and what to some; None: what was compiled, to all at once."""
        wanted = compiled_content(compiled)
        if live is None or not live.served.entries or live.digest == wanted.digest or agree(wanted.served, live.served):
            self.drop()
            self._stopped = NO_STAGE
            return None
        trial = self._trial
        if trial is not None and trial.failure is not None:
            self._stop(trial, trial.failure)
        elif trial is not None and trial.passed:
            return self._promoted(compiled, wanted, trial, secrets)
        base = self._closer.close(live, compiled.served)
        if self._stopped.digest == wanted.digest:
            return self._held(compiled, base, secrets)
        if agree(base.served, wanted.served):
            # Nothing but closings.
            self.drop()
            return None
        return self._tried(compiled, wanted, base, secrets)

    def published(self, revision: int) -> None:
        """Take note: `revision` (0: none) is given to those that try."""
        trial = self._trial
        if trial is None:
            return
        if trial.promoting:
            # All have it now; what was declared meanwhile is next.
            self._trial = None
            self._on_outcome()
        elif revision and revision not in trial.revisions:
            trial.revisions.add(revision)
            self._wakeup.set()

    async def run(self) -> None:
        """Watch trials until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                trial = self._trial
                if trial is None or not trial.revisions or trial.passed or trial.failure is not None:
                    self._wakeup.clear()
                    await self._wakeup.wait()
                    continue
                try:
                    await self._watch(trial, session)
                except Exception:  # noqa: BLE001 - a trial that cannot be judged must never end the operator
                    _log.exception("the trial of revision %d could not be judged", self.tried)
                await asyncio.sleep(POLL_SECONDS)

    async def _watch(self, trial: _Trial, session: aiohttp.ClientSession) -> None:
        failure = self._not_run(trial)
        if failure is not None and failure.gate == _NOT_SERVED and self._moved(trial):
            return
        if failure is None and trial.since is not None:
            mine, theirs = sides(await ask_all(self._urls(), session), trial.number, trial.revisions)
            trial.calls = count(mine.total)
            failure = judge_trial(mine, theirs, self._options.gates)
        # Who is gone at the end has proved nothing.
        present = self._clock() - trial.seen <= 2 * POLL_SECONDS
        over = trial.since is not None and present and self._clock() - trial.since >= self._options.seconds
        if failure is not None:
            trial.failure = failure
        elif over:
            trial.passed = True
            _log.info("revision %d passed its trial with %d calls", max(trial.revisions), trial.calls)
        if self._trial is trial and (failure is not None or over):
            self._on_outcome()

    def _not_run(self, trial: _Trial) -> Failure | None:
        """Whether those that should try it cannot, or are gone."""
        now, newest = self._clock(), max(trial.revisions)
        chosen = [report for report in self._reports() if report.instance in trial.planes]
        refusing = [report for report in chosen if report.refusal and report.revision < newest]
        if refusing:
            return Failure("Refused", "; ".join(f"{report.name}: {report.refusal}" for report in refusing))
        if any(report.ready and report.revision in trial.revisions for report in chosen):
            trial.seen = now
            trial.since = now if trial.since is None else trial.since
        if now - max(trial.begun, trial.seen) <= TAKE_SECONDS:
            return None
        return Failure(_NOT_SERVED, f"none of {', '.join(trial.planes)} serves it for {TAKE_SECONDS:.0f} s")

    def _moved(self, trial: _Trial) -> bool:
        """Once, others try it: data planes come and go for reasons of their own. Twice is no chance."""
        others = [report for report in self._reports() if report.instance not in trial.planes]
        planes = chosen_planes(others, self._options.share, trial.content.digest, least_left=0)
        if trial.moved or not planes:
            return False
        _log.warning("%s are gone or do not serve it: %s try it now", ", ".join(trial.planes), ", ".join(planes))
        trial.planes, trial.begun, trial.since, trial.seen, trial.moved = planes, self._clock(), None, 0.0, True
        self._on_outcome()
        return True

    def _tried(self, compiled: Compiled, wanted: Content, base: Content, secrets: Secrets) -> Plan | None:
        trial = self._trial
        if trial is None:
            planes = chosen_planes(self._reports(), self._options.share, wanted.digest)
            if not planes:
                _log.warning("not staged: fewer than two data planes answer that can take part")
                return None
            trial = self._trial = _Trial(wanted, planes, self._clock())
            self._stopped = NO_STAGE
        content = self._trial_closer.close(trial.content, compiled.served)
        told = f"Tried on {len(trial.planes)} data planes first: {', '.join(trial.planes)}."
        held = waiting(compiled, base, Held(ProgrammedReason.CANARY, told))
        if trial.content.digest != wanted.digest:
            later = Held(ProgrammedReason.CANARY, "Waits for the roll-out of the change before it.")
            held |= waiting(compiled, trial.content, later)
        plan = held_back(compiled, base, held, secrets)
        both = replace(plan.compiled, credentials={**plan.compiled.credentials, **compiled.credentials})
        staged = Staged(content, trial.planes, trial.number)
        return replace(plan, compiled=both, staged=staged, why=Why.CLOSING)

    def _promoted(self, compiled: Compiled, wanted: Content, trial: _Trial, secrets: Secrets) -> Plan:
        self._stopped, trial.promoting = NO_STAGE, True
        if trial.content.digest == wanted.digest:
            return as_compiled(compiled)
        content = self._trial_closer.close(trial.content, compiled.served)
        told = Held(ProgrammedReason.CANARY, "Waits for the roll-out of the change before it.")
        return held_back(compiled, content, waiting(compiled, content, told), secrets)

    def _stop(self, trial: _Trial, failure: Failure) -> None:
        revision = max(trial.revisions, default=0)
        self._stopped = Stage(
            phase=Phase.STOPPED,
            revision=revision,
            digest=trial.content.digest,
            planes=trial.planes,
            gate=failure.gate,
            message=failure.message,
            at=int(self._now()),
        )
        self._trial = None
        self._on_stop(failure.gate)
        _log.error("the roll-out of revision %d was stopped by gate %s: %s", revision, failure.gate, failure.message)

    def _held(self, compiled: Compiled, base: Content, secrets: Secrets) -> Plan:
        stage = self._stopped
        message = (
            f"The roll-out of revision {stage.revision} was stopped on {', '.join(stage.planes)} by gate {stage.gate}: "
            f"{stage.message}. The revision before it serves everywhere; what is declared is tried again when it "
            "changes."
        )
        held = waiting(compiled, base, Held(ProgrammedReason.ROLLOUT_STOPPED, message))
        plan = held_back(compiled, base, held, secrets)
        return replace(plan, stage=stage, why=Why.STOPPED, of=stage.revision, reason=f"{stage.gate}: {stage.message}")


def chosen_planes(reports: Iterable[PlaneReport], share: float, digest: str, *, least_left: int = 1) -> tuple[str, ...]:
    """Which data planes try a content: that share, at least one, and never all. Others for each content."""
    able = [report.instance for report in reports if report.ready and report.instance]
    wanted = min(max(1, round(share * len(able))), len(able) - least_left)
    if wanted < 1:
        return ()
    drawn = sorted(able, key=lambda instance: hashlib.sha256(f"{digest} {instance}".encode()).digest())
    return tuple(sorted(drawn[:wanted]))
