"""Each lint is found where it is, and nothing else; and what the command makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inquiry.folder import run
from tidegate_crds.admission.cel import _CREDENTIAL
from tidegate_operator.inquiry.compiled_folder import Workbench
from tidegate_operator.lint.codes import LINTS, Code, Level
from tidegate_operator.lint.finding import View
from tidegate_operator.lint.folder import Linted, lint_loaded
from tidegate_operator.lint.secrecy import secrecy
from tidegate_operator.manifests import load_paths
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

NOW = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
MONTH = timedelta(days=30).total_seconds()
BACKEND = "{kind: AIBackend, name: mock, spec: {provider: Mock}}"
ROUTE = "{kind: AIRoute, name: chat, spec: {models: [gpt-4o, gpt-4], targets: [{backendRef: {name: mock}}]}}"
CONSUMER = "{kind: AIConsumer, name: app, spec: {roles: [reader], credentials: {apiKeys: [{name: a, sha256: KEY}]}}}"
POLICY = (
    "{kind: AIPolicy, name: house, spec: {targetRefs: [{kind: Namespace}], authentication: {methods: [APIKey]}, "
    "authorization: {rules: [{name: readers, effect: Allow, roles: [reader]}]}}}"
)
QUOTA = (
    "{kind: Quota, name: calls, spec: {targetRefs: [{kind: Namespace}], per: Consumer, "
    "limits: [{unit: Requests, amount: '100', window: {calendar: Day}}]}}"
)
CLEAN = {"backend": BACKEND, "route": ROUTE, "consumer": CONSUMER, "policy": POLICY, "quota": QUOTA}
HERE = "targetRefs: [{kind: Namespace}]"
KEYS = "authentication: {methods: [APIKey]}"
LIMIT = "unit: Requests, amount: '100'"
RULES = "authorization: {rules: [{name: readers, effect: Allow, roles: [reader]}, "


def policy(name: str, spec: str) -> str:
    return f"{{kind: AIPolicy, name: {name}, spec: {{{spec}}}}}"


def route(name: str, spec: str) -> str:
    return f"{{kind: AIRoute, name: {name}, spec: {{targets: [{{backendRef: {{name: mock}}}}], {spec}}}}}"


def backend(name: str, spec: str) -> str:
    return f"{{kind: AIBackend, name: {name}, spec: {{{spec}}}}}"


def consumer(name: str, spec: str) -> str:
    return f"{{kind: AIConsumer, name: {name}, spec: {{{spec}}}}}"


def quota(name: str, spec: str) -> str:
    return f"{{kind: Quota, name: {name}, spec: {{{spec}}}}}"


def house(rules: str) -> dict[str, str]:
    return {"policy": policy("house", f"{HERE}, {KEYS}, {rules}")}


def limits(*windows: str) -> str:
    return f"limits: [{', '.join(f'{{{LIMIT}, window: {window}}}' for window in windows)}]"


APP = "roles: [reader], credentials: {apiKeys: [{name: a, sha256: KEY"
ELSEWHERE = "credential: {secretRef: {name: key, key: token}}"
# What is put in the place of a part of the clean world, or beside it; what is found; and in which field.
CASES: dict[Code, tuple[dict[str, str], str, str]] = {
    Code.ALLOWS_EVERYTHING: (
        house("authorization: {rules: [{name: all, effect: Allow, when: 'true'}]}"),
        "AIPolicy default/house",
        "spec.authorization.rules[0]",
    ),
    Code.BACKEND_OPEN_TO_ALL: (
        {"backend": backend("mock", "provider: Mock, allowedNamespaces: ['*']")},
        "AIBackend default/mock",
        "spec.allowedNamespaces",
    ),
    Code.CONFLICTED_ROUTE: ({"more": route("later", "models: [gpt-4]")}, "AIRoute default/later", "spec.models"),
    Code.CONSUMER_WITHOUT_CREDENTIAL: (
        {"more": consumer("new", "roles: [reader], credentials: {apiKeys: [{name: a, sha256: KEY2, revoked: true}]}")},
        "AIConsumer default/new",
        "spec.credentials",
    ),
    Code.CREDENTIAL_IN_SPEC: (
        {"consumer": consumer("app", f"attributes: {{note: sk-0123456789abcdefghijklmn}}, {APP}}}]}}")},
        "AIConsumer default/app",
        "spec.attributes.note",
    ),
    Code.CREDENTIAL_UNENCRYPTED: (
        {"backend": backend("mock", f"provider: OpenAI, endpoint: 'http://llm.example.com/v1', {ELSEWHERE}"), "s": "S"},
        "AIBackend default/mock",
        "spec.endpoint",
    ),
    Code.DEFAULT_REPLACED: (
        {"more": policy("base", f"{HERE}, strength: Default, rateLimits: [{{name: a, requests: 9}}]")}
        | {"m2": policy("own", "targetRefs: [{kind: AIRoute, name: chat}], rateLimits: [{name: a, requests: 5}]")},
        "AIPolicy default/base",
        "spec.rateLimits",
    ),
    Code.FAILOVER_NEVER_TRIED: (
        {
            "route": "{kind: AIRoute, name: chat, spec: {models: [m], retry: {attempts: 0}, "
            "targets: [{backendRef: {name: mock}}, {backendRef: {name: mock}, priority: 1}]}}"
        },
        "AIRoute default/chat",
        "spec.retry",
    ),
    Code.GRANT_ENDED: (
        {
            "quota": quota(
                "calls",
                f"{HERE}, {limits('{calendar: Day}')}, "
                "grants: [{name: fair, unit: Requests, amount: '5', reason: r, notAfter: '2026-06-01T00:00:00Z'}]",
            )
        },
        "Quota default/calls",
        "spec.grants[0]",
    ),
    Code.KEY_EXPIRED: (
        {"consumer": consumer("app", f"{APP}}}, {{name: b, sha256: KEY2, notAfter: '2026-06-30T23:59:59Z'}}]}}")},
        "AIConsumer default/app",
        "spec.credentials.apiKeys[1].notAfter",
    ),
    Code.KEY_EXPIRES_SOON: (
        {"consumer": consumer("app", f"{APP}, notAfter: '2026-07-20T00:00:00Z'}}]}}")},
        "AIConsumer default/app",
        "spec.credentials.apiKeys[0].notAfter",
    ),
    Code.LIMIT_UNREACHABLE: (
        {"quota": quota("calls", f"{HERE}, {limits('{calendar: Month}', '{calendar: Day}')}")},
        "Quota default/calls",
        "spec.limits[1]",
    ),
    Code.METHOD_WITHOUT_PROVIDER: (
        {"policy": POLICY.replace("[APIKey]", "[APIKey, JWT]")},
        "AIPolicy default/house",
        "spec.authentication.methods",
    ),
    Code.NOT_SERVED: (
        {"more": policy("broken", f"{HERE}, network: {{allow: [10.0.0.0/99]}}")},
        "AIPolicy default/broken",
        "spec.network.allow[0]",
    ),
    Code.OPEN_TO_ALL_NAMESPACES: (
        {
            **house("rateLimits: [{name: a, requests: 9}]"),
            "route": route("chat", "models: [m], allowedNamespaces: ['*']"),
        },
        "AIRoute default/chat",
        "spec.allowedNamespaces",
    ),
    Code.OPEN_TO_EVERYBODY: (
        {"policy": policy("house", f"{HERE}, authentication: {{methods: [APIKey, Anonymous]}}")},
        "AIRoute default/chat",
        "",
    ),
    Code.POLICY_WITHOUT_ROUTE: (
        {"more": "{kind: AIPolicy, name: lost, namespace: empty, spec: {" + f"{HERE}, {KEYS}" + "}}"},
        "AIPolicy empty/lost",
        "spec.targetRefs",
    ),
    Code.QUOTA_WITHOUT_CONSUMER: (
        {"more": quota("gold", f"{HERE}, consumers: {{tiers: [gold]}}, {limits('{calendar: Day}')}")},
        "Quota default/gold",
        "spec.consumers",
    ),
    Code.QUOTA_WITHOUT_ROUTE: (
        {"more": "{kind: Quota, name: lost, namespace: empty, spec: {" + f"{HERE}, {limits('{calendar: Day}')}" + "}}"},
        "Quota empty/lost",
        "spec.targetRefs",
    ),
    Code.REFERENCE_NOT_PERMITTED: (
        {
            "more": "{kind: AIBackend, name: theirs, namespace: other, spec: {provider: Mock}}",
            "route": "{kind: AIRoute, name: chat, spec: {models: [m], targets: [{backendRef: {name: mock}}, "
            "{backendRef: {name: theirs, namespace: other}}]}}",
        },
        "AIRoute default/chat",
        "spec.targets[1].backendRef",
    ),
    Code.ROUTE_PARTLY_SHADOWED: (
        {"more": route("trial", "models: [gpt-*], match: {headers: [{name: x-trial, value: b}]}")},
        "AIRoute default/trial",
        "",
    ),
    Code.ROUTE_WITHOUT_AUTHENTICATION: (
        {
            "more": "{kind: AIRoute, name: open, namespace: alone, spec: {models: [m], "
            "targets: [{backendRef: {name: mock, namespace: default}}]}}",
            "backend": backend("mock", "provider: Mock, allowedNamespaces: [alone]"),
        },
        "AIRoute alone/open",
        "",
    ),
    Code.ROUTE_WITHOUT_CALLER: (
        {
            "more": route("admin", "models: [admin]"),
            "m2": policy("admins", "targetRefs: [{kind: AIRoute, name: admin}], authentication: {methods: [MTLS]}"),
        },
        "AIRoute default/admin",
        "",
    ),
    Code.RULE_ALWAYS_DENIED: (
        {
            **house(RULES + "{name: big, effect: Allow, models: [gpt-4]}]}"),
            "m2": policy("bar", f"{HERE}, authorization: {{rules: [{{name: none, effect: Deny, models: [gpt-4]}}]}}"),
        },
        "AIPolicy default/house",
        "spec.authorization.rules[1]",
    ),
    Code.RULE_NEVER_MATCHES: (
        house(RULES + "{name: typo, effect: Deny, roles: [raeder]}]}"),
        "AIPolicy default/house",
        "spec.authorization.rules[1]",
    ),
    Code.RULE_REDUNDANT: (
        house(RULES + "{name: again, effect: Allow, roles: [reader], models: [gpt-4]}]}"),
        "AIPolicy default/house",
        "spec.authorization.rules[1]",
    ),
    Code.SECRET_IN_FILES: ({"more": "S"}, "Secret default/key", "stringData"),
    Code.SUBSCRIPTION_ENDED: (
        {
            "route": route("chat", "models: [m], subscription: {plans: [{name: basic}]}"),
            "more": "{kind: AISubscription, name: s, spec: {consumerRef: {name: app}, plan: basic, reason: work, "
            "routeRef: {name: chat}, notAfter: '2026-06-01T00:00:00Z'}}",
            "m2": "{kind: AISubscription, name: t, spec: {consumerRef: {name: app}, plan: basic, reason: work, "
            "routeRef: {name: chat}}}",
            "m3": "{kind: AIApproval, name: t, spec: {subscription: "
            "{namespace: default, name: t, consumer: app, route: chat, plan: basic}}}",
        },
        "AISubscription default/s",
        "spec.notAfter",
    ),
    Code.TARGET_WITHOUT_TRAFFIC: (
        {
            "route": "{kind: AIRoute, name: chat, spec: {models: [m], targets: "
            "[{backendRef: {name: mock}}, {backendRef: {name: mock}, weight: 0}]}}"
        },
        "AIRoute default/chat",
        "spec.targets[1].weight",
    ),
    Code.UNKNOWN_CODE: (
        {"backend": "{kind: AIBackend, name: mock, ignore: Unused, spec: {provider: Mock}}"},
        "AIBackend default/mock",
        "metadata.annotations[tidegate.dev/lint-ignore]",
    ),
    Code.UNLIMITED_CONSUMER: (
        {"quota": quota("calls", f"{HERE}, consumers: {{tiers: [free]}}, {limits('{calendar: Day}')}")}
        | {"more": consumer("free", "tier: free, roles: [reader], credentials: {apiKeys: [{name: a, sha256: KEY2}]}")},
        "AIConsumer default/app",
        "",
    ),
    Code.UNUSED_BACKEND: ({"more": backend("old", "provider: Mock")}, "AIBackend default/old", "metadata.name"),
    Code.UNUSED_CONSUMER: (
        {"more": consumer("old", "roles: [writer], credentials: {apiKeys: [{name: a, sha256: KEY2}]}")},
        "AIConsumer default/old",
        "",
    ),
}
SECRET = "{apiVersion: v1, kind: Secret, metadata: {name: key}, stringData: {token: 0123456789abcdef}}"


def written(folder: Path, parts: dict[str, str]) -> Path:
    """The clean world with these parts; short forms are written out."""
    for name, text in (CLEAN | parts).items():
        (folder / f"{name}.yaml").write_text(_whole(text).replace("KEY2", "b" * 64).replace("KEY", "a" * 64))
    return folder


def _whole(text: str) -> str:
    if text == "S":
        return SECRET
    head, _, spec = text.removeprefix("{").partition(", spec:")
    fields = dict(part.split(": ") for part in head.split(", "))
    annotations = f", annotations: {{tidegate.dev/lint-ignore: {fields['ignore']}}}" if "ignore" in fields else ""
    namespace = fields.get("namespace", "default")
    metadata = f"{{name: {fields['name']}, namespace: {namespace}{annotations}}}"
    return f"{{apiVersion: tidegate.dev/v1alpha1, kind: {fields['kind']}, metadata: {metadata}, spec:{spec}\n"


def linted(folder: Path) -> Linted:
    return lint_loaded(load_paths([folder]), platform_namespace="tidegate-system", now=NOW, within=MONTH)


def test_the_clean_world_is_clean(tmp_path: Path) -> None:
    assert linted(written(tmp_path, {})).findings == ()


def test_every_code_has_a_case() -> None:
    assert CASES.keys() == set(Code) == LINTS.keys()


# Found besides, since it follows.
ALSO: dict[Code, set[Code]] = {
    Code.CREDENTIAL_UNENCRYPTED: {Code.SECRET_IN_FILES},
    Code.CONFLICTED_ROUTE: set(),
}


@pytest.mark.parametrize("code", list(Code))
def test_a_lint_is_found_where_it_is_and_nothing_else(code: Code, tmp_path: Path) -> None:
    parts, where, field = CASES[code]
    found = linted(written(tmp_path, parts)).findings
    told = [(one.object, one.field) for one in found if one.code is code]
    assert told == [(where, field)], found
    assert {one.code for one in found} - {code} == ALSO.get(code, set()), found
    (mine,) = (one for one in found if one.code is code)
    assert mine.level is LINTS[code].level
    assert mine.line >= 1
    assert Path(mine.file).parent == tmp_path
    assert "sk-0123456789" not in mine.message


@pytest.mark.parametrize("code", sorted(set(Code) - {Code.UNKNOWN_CODE, Code.SECRET_IN_FILES}))
def test_an_annotation_leaves_it_out(code: Code, tmp_path: Path) -> None:
    parts, where, _ = CASES[code]
    name = where.rpartition("/")[2]
    marked = {
        part: text.replace(f"name: {name},", f"name: {name}, ignore: {code},", 1)
        for part, text in (CLEAN | parts).items()
        if text.startswith(f"{{kind: {where.split()[0]}, name: {name},")
    }
    assert len(marked) == 1
    result = linted(written(tmp_path, {**parts, **marked}))
    assert code not in {one.code for one in result.findings}
    assert result.suppressed == 1


def test_what_holds_in_one_cluster_alone_is_not_said(tmp_path: Path) -> None:
    """The consumer is used where the route is placed; that it is not elsewhere is no finding."""
    placed = ROUTE.replace("spec: {", "spec: {placement: {clusterSelector: {matchLabels: {cloud: aws}}}, ")
    other = route("two", "models: [m], placement: {clusterSelector: {matchLabels: {cloud: gcp}}}")
    assert linted(written(tmp_path, {"route": placed, "more": other})).findings == ()


def test_the_command_says_what_to_do_and_fails_by_severity(tmp_path: Path) -> None:
    folder = written(tmp_path, CASES[Code.UNUSED_BACKEND][0])
    code, output = run("lint", str(folder))
    assert code == 1
    where = "AIBackend default/old: metadata.name"
    assert f"{folder / 'more.yaml'}:1: warning UnusedBackend: {where}: no AIRoute refers to it\n" in output
    assert LINTS[Code.UNUSED_BACKEND].remedy in output
    assert output.splitlines()[-1] == "1 warning; 6 objects in 6 files"
    assert run("lint", "--fail-on", "error", str(folder))[0] == 0
    assert run("lint", "--fail-on", "never", str(folder))[0] == 0
    code, output = run("lint", "--ignore", "UnusedBackend", str(folder))
    assert (code, output) == (0, "nothing found (1 suppressed); 6 objects in 6 files\n")


def test_the_command_writes_json(tmp_path: Path) -> None:
    folder = written(tmp_path, CASES[Code.UNUSED_BACKEND][0])
    code, output = run("lint", "-o", "json", str(folder))
    (finding,) = json.loads(output)["findings"]
    assert code == 1
    assert finding == {
        "file": str(folder / "more.yaml"),
        "line": 1,
        "severity": "warning",
        "code": "UnusedBackend",
        "object": "AIBackend default/old",
        "field": "metadata.name",
        "message": "no AIRoute refers to it",
        "remedy": LINTS[Code.UNUSED_BACKEND].remedy,
    }


@pytest.mark.parametrize("within", ["soon", "1 week", ""])
def test_a_wrong_duration_is_refused(within: str, tmp_path: Path) -> None:
    code, output = run("lint", "--within", within, str(written(tmp_path, {})))
    assert code == 2
    assert "--within: a duration is" in output


def test_each_remedy_is_a_sentence() -> None:
    for lint in LINTS.values():
        assert lint.meaning.endswith(".")
        assert lint.remedy.endswith(".")
        assert lint.level in Level


@given(text=st.from_regex(_CREDENTIAL, fullmatch=True))
@settings(max_examples=50)
def test_what_admission_policies_refuse_as_a_credential_is_found(text: str) -> None:
    spec = {"provider": "Mock", "mock": {"reply": f"({text})"}}
    key = ObjectKey(Kind.BACKEND, "default", "mock")
    world, facts = World({key: Resource(key, spec)}), Facts()
    compiled, runtime = Workbench(facts).runtime_of(world)
    (found,) = secrecy(View(world, facts, compiled, runtime, NOW, MONTH))
    assert found.field == "spec.mock.reply"
    assert text not in found.message
