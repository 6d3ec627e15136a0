"""The webhook: HTTPS, a bounded queue, one thread that judges. Whatever goes wrong here, the change is allowed.

The API server waits for it while somebody waits for kubectl: an answer that would come late is given up, with a warning
that nothing was looked at.
"""

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tidegate_operator.admission.configuration import PATH_PREFIX
from tidegate_operator.admission.findings import Answer, Change, Topic, answer
from tidegate_operator.admission.keeper import Keeper
from tidegate_operator.admission.review import Reviewer
from tidegate_operator.admission.wire import MOST_BYTES, Request, Unreadable, change_of, read_review, write_review
from tidegate_operator.compile.compiled import CompileError
from tidegate_operator.world import World

_log = logging.getLogger(__name__)

MOST_WAITING = 16
ANSWER_SECONDS = 1.5
"""Below the two seconds for which the API server waits."""
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 5)
_JSON = {"Content-Type": "application/json"}


class AdmissionMetrics:
    """What the webhook counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tidegate_operator_admission_requests",
            "Reviews by verdict: Allowed, Warned, Denied, Unjudged (too slow or too many), Unreadable.",
            ("verdict",),
            registry=registry,
        )
        self.seconds = Histogram(
            "tidegate_operator_admission_seconds", "Time of one review.", buckets=_BUCKETS, registry=registry
        )
        self.ends = Gauge(
            "tidegate_operator_admission_certificate_ends_seconds",
            "When the webhook's certificate ends, in seconds since the epoch.",
            registry=registry,
        )


class AdmissionServer:
    """Serves until `stop`. `world` is the newest World, None before everything was listed once."""

    def __init__(
        self,
        *,
        world: Callable[[], World | None],
        reviewer: Reviewer,
        keeper: Keeper,
        registry: CollectorRegistry,
        denied: frozenset[Topic],
        now: Callable[[], float] = time.time,
        within: float = ANSWER_SECONDS,
    ) -> None:
        self._world = world
        self._reviewer = reviewer
        self._keeper = keeper
        self._denied = denied
        self._now = now
        self._within = within
        self._waiting = 0
        self._judging = ThreadPoolExecutor(1, thread_name_prefix="admission")
        self._runner: web.AppRunner | None = None
        self.metrics = AdmissionMetrics(registry)
        self.metrics.ends.set_function(lambda: keeper.ends)

    async def start(self, host: str, port: int) -> None:
        """Listen with TLS; OSError when the port is taken. A certificate must have been loaded."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post(PATH_PREFIX + "{token}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._keeper.context).start()

    async def stop(self) -> None:
        """Close the port; what is being judged is left to itself."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._judging.shutdown(wait=False, cancel_futures=True)

    async def warm(self, world: World) -> None:
        """Compile once, which takes seconds where there is much, so that the first review does not."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._judging, self._reviewer.follow, world)
        except CompileError as error:
            _log.warning("the webhook cannot judge yet: %s", error)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not hmac.compare_digest(request.match_info["token"].encode(), self._keeper.token.encode()):
            return web.Response(status=404)
        try:
            review = read_review(await request.read())
        except Unreadable as error:
            self.metrics.requests.labels("Unreadable").inc()
            _log.warning("a review could not be read: %s", error)
            return web.Response(status=400, text=f"{error}\n")
        began = time.perf_counter()
        given = await self._answer(review)
        self.metrics.seconds.observe(time.perf_counter() - began)
        return web.Response(body=write_review(review.uid, given), headers=_JSON)

    async def _answer(self, request: Request) -> Answer:
        try:
            change = change_of(request)
        except Unreadable as error:
            self.metrics.requests.labels("Unreadable").inc()
            _log.warning("a review could not be read: %s", error)
            return Answer(True, (f"Tidegate did not look at this change: {error}",))
        if change is None:
            self.metrics.requests.labels("Allowed").inc()
            return Answer(True)
        given = await self._judged(change)
        if isinstance(given, str):
            self.metrics.requests.labels("Unjudged").inc()
            _log.warning("%s of %s was not judged: %s", change.operation, change.key, given)
            return Answer(True, (f"Tidegate did not look at what this change does to others: {given}",))
        verdict = "Denied" if not given.allowed else "Warned" if given.warnings else "Allowed"
        self.metrics.requests.labels(verdict).inc()
        if given.topics:
            _log.info("%s of %s: %s (%s)", change.operation, change.key, verdict.lower(), ", ".join(given.topics))
        return given

    async def _judged(self, change: Change) -> Answer | str:
        """The answer, or why there is none."""
        world = self._world()
        if world is None:
            return "the operator has just started"
        if self._waiting >= MOST_WAITING:
            return "too many changes at once"
        self._waiting += 1
        judging = asyncio.get_running_loop().run_in_executor(self._judging, self._judge, world, change)
        judging.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._within):
                return await asyncio.shield(judging)
        except TimeoutError:
            judging.cancel()
            return "it took too long"
        except CompileError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - see the module: whatever goes wrong, the change is allowed
            # Not the error's own text: it may quote the object.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("a review failed unexpectedly: %s\n%s", type(error).__name__, where)
            return "an internal error, see the operator's log"

    def _judge(self, world: World, change: Change) -> Answer:
        return answer(change, self._reviewer.review(world, change, self._now()), self._denied)

    def _done(self, judging: "asyncio.Future[Answer]") -> None:
        self._waiting -= 1
        if not judging.cancelled():
            # Told where it was waited for; nobody may be left to ask.
            judging.exception()
