"""The operator's own HTTP endpoint: `/-/live`, `/-/ready`, `/metrics`."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health:
    """Serves until `stop`. `live` and `ready` return what is wrong, or "" when nothing is."""

    def __init__(self, *, live: Callable[[], str], ready: Callable[[], str], metrics: Callable[[], bytes]) -> None:
        self._live = live
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/-/live", _probe(self._live))
        app.router.add_get("/-/ready", _probe(self._ready))
        app.router.add_get("/metrics", self._scrape)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics(), headers=headers)


def _probe(check: Callable[[], str]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        wrong = check()
        return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

    return answer
