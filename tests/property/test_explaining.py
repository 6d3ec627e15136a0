"""Explaining agrees with enforcing: on random worlds, what the real application answers is what was foretold.

TIDEGATE_WORLDS says on how many worlds; 5,000 take about two minutes.
"""

import os
from collections import Counter
from typing import Any

import pytest

from deciding.gateway import Answer, Gateway, body_of, credentials_of
from deciding.random_world import FACTS, Request, WorldMaker
from tidegate_dataplane.engine.assume import CannotAssume
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.explain import Explanation
from tidegate_dataplane.engine.explain_text import deciding
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.proxy.explain import ExplainQuestion, answer
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import Method
from tidegate_dataplane.upstream import UpstreamClient
from tidegate_operator.inquiry.compiled_folder import Workbench

WORLDS = int(os.environ.get("TIDEGATE_WORLDS", "150"))
FIRST = int(os.environ.get("TIDEGATE_FIRST_WORLD", "0"))
REQUESTS = 8


def foretold(gateway: Gateway, request: Request) -> Explanation | Denial | None:
    """What `explain` says; a Denial when the key is refused, None when nobody vouches for the token."""
    common: dict[str, Any] = {
        "model": request.model,
        "path": request.path,
        "host": request.host,
        "headers": dict(request.headers),
        "address": request.address,
        "body_bytes": len(body_of(request)),
        "time": request.now,
        "remedies": False,
    }
    issuers = {provider.entry.issuer for provider in gateway.runtime.providers.by_key.values()}
    if (request.token is None and not request.certificate) or (request.token is not None and not issuers):
        headers = {**request.headers, **credentials_of(request)}
        question = ExplainQuestion(**{**common, "headers": headers})
        return answer(gateway.runtime, question, gateway.behaviour)
    # In the order of the gateway: is the token's issuer trusted, does the key beside it hold, for whom do they stand.
    if request.token is not None and request.token["iss"] not in issuers:
        return None
    methods = [] if request.token is None else [Method.JWT]
    if request.key:
        methods.append(Method.API_KEY)
        found = identify(gateway.runtime, (request.key,), request.now)
        if isinstance(found, Denial):
            return found
    if request.certificate:
        methods.append(Method.MTLS)
    question = ExplainQuestion(
        **common, consumer=request.consumer, methods=tuple(methods), claims=dict(request.token or {})
    )
    try:
        return answer(gateway.runtime, question, gateway.behaviour)
    except CannotAssume:
        return None


def compare(said: Explanation | Denial | None, got: Answer) -> None:
    if said is None:
        assert got.status == 401
        return
    if isinstance(said, Denial):
        assert (got.status, got.code) == (said.status, said.code)
        return
    denial, record = said.denial, got.record
    rule = said.allowed_by if denial is None else str(denial.rule or "")
    assert (got.status, got.code) == ((200, "") if denial is None else (denial.status, denial.code))
    assert str(record.rule or "") == rule
    assert f"AIRoute {record.route}" == (said.route or "AIRoute ")
    if said.route:
        assert record.method == said.method
    assert tuple(map(str, record.shadow)) == said.shadow
    if record.target is not None:
        target = f"AIBackend {record.target.backend} model '{record.target.model}' "
        assert any(one.startswith(target) for one in said.targets)
    if denial is not None and said.route and said.consumer:
        assert record.why == deciding(said.steps, denial)


@pytest.mark.timeout(1_200)
async def test_the_application_does_what_explain_says(monkeypatch: pytest.MonkeyPatch) -> None:
    client = UpstreamClient()
    gateway = Gateway(client, monkeypatch)
    seen: Counter[str] = Counter()
    try:
        for seed in range(FIRST, FIRST + WORLDS):
            maker = WorldMaker(seed)
            gateway.run(runtime_of(maker))
            for number, request in enumerate(maker.requests(REQUESTS)):
                said = foretold(gateway, request)
                got = await gateway.send(request)
                try:
                    compare(said, got)
                except AssertionError as error:
                    raise AssertionError(f"world {seed} request {number}: {request}\n{said}\n{got}") from error
                seen[f"{got.status} {got.code}"] += 1
    finally:
        await client.aclose()
    print(f"{WORLDS} worlds, {sum(seen.values())} requests: {dict(seen.most_common())}")
    # Chance must bring requests as far as every gate, or nothing was shown.
    if WORLDS >= 100:
        assert {"200 ", "403 permission_denied", "401 method_not_accepted", "404 model_not_found"} <= seen.keys()


def runtime_of(maker: WorldMaker) -> Runtime:
    return Workbench(FACTS).runtime_of(maker.world())[1]
