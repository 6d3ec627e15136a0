"""Keys of callers and of providers appear in no log, audit line, metric, status or error, whatever goes wrong."""

import logging
from pathlib import Path

import pytest

from dataplane.factory import KEY, OTHER_KEY, bundle_of, http_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.upstream import answer, completion, upstream

CREDENTIAL = "sk-upstream-credential-abcdef"


async def test_no_secret_leaves_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = tmp_path / "audit.jsonl"
    seen: list[str] = []
    leaky = answer({"error": {"message": f"bad key {CREDENTIAL}"}}, status=401)
    async with upstream(leaky) as refusing, upstream(answer(completion())) as serving:
        backends = [
            http_backend("refusing", refusing.url, credential="c"),
            http_backend("serving", serving.url, credential="c"),
            http_backend("dead", "http://127.0.0.1:9/v1", credential="c"),
        ]
        routes = [
            route(each.source.name, models=(each.source.name,), targets=(target(each.source.name),), retry_attempts=0)
            for each in backends
        ]
        bundle = bundle_of(shard(backends=backends, routes=routes))
        async with running(bundle, credentials={"c": CREDENTIAL.encode()}, audit=log) as plane:
            for model in ("refusing", "serving", "dead", "unknown"):
                for key in (KEY, OTHER_KEY, None):
                    seen.append(str(await exchange(plane, request(chat(model=model), key=key))))
            seen.append(str(await exchange(plane, request(b"{", key=KEY, headers=(f"api-key: {KEY}",)))))
            seen.append(str(await exchange(plane, b"GET /?key=" + KEY.encode() + b" HTTP/9.9\r\n\r\n")))
            question = b'{"model": "serving", "consumer": "team-a/search"}'
            for path, body in (("/-/status", None), ("/metrics", None), ("/-/explain", question)):
                seen.append(str(await admin(plane, path, body)))
            seen.append(repr(plane.__dict__))
    assert serving.asked[0].header("authorization") == f"Bearer {CREDENTIAL}"
    everything = "\n".join([*seen, log.read_text(), caplog.text])
    assert "team-a/search" in everything
    for secret in (KEY, OTHER_KEY, CREDENTIAL):
        assert secret not in everything
