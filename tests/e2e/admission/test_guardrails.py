"""Secrets in plain text, slips, privileges; what was stored before; and objects as large as the schemas allow."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_tools
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from e2e.admission.installing import GROUP, REGISTRATION, refusal
from e2e.admission.refusals import BACKEND, HERE, JWT, MOCK, POLICY, QUOTA, ROUTE, SHA
from tidegate_crds.admission.policies import bindings, policies
from tidegate_crds.admission.rule import Severity
from tidegate_crds.definition import NAMES
from tidegate_dataplane.apikey import issue_key

KEY = issue_key(bytes(32))
PLATFORM = "tidegate-system"


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("AIConsumer", {"attributes": {"note": KEY}}, "spec.attributes"),
        (
            "AIConsumer",
            {"credentials": {"jwt": [{"name": "a", "issuer": "https://idp.example.com", "match": {"t": KEY}}]}},
            "spec.credentials.jwt[0].match",
        ),
        (
            "AIRoute",
            {**ROUTE, "match": {"headers": [{"name": "authorization", "value": f"Bearer {KEY}"}]}},
            "spec.match.headers[0].value",
        ),
        ("AIBackend", {**MOCK, "mock": {"reply": "use sk-abcdefghijklmnopqrstuvwxyz0123"}}, "spec.mock.reply"),
        (
            "AISubscription",
            {"consumerRef": {"name": "a"}, "routeRef": {"name": "b"}, "plan": "basic", "reason": f"my key is {KEY}"},
            "spec.reason",
        ),
        (
            "AIPolicy",
            {
                "targetRefs": HERE,
                "authorization": {
                    "rules": [{"name": "a", "effect": "Allow", "when": f"request.headers['x'] == '{KEY}'"}]
                },
            },
            "spec.authorization.rules[0].when",
        ),
    ],
)
def test_a_key_in_plain_text_never_reaches_the_store(
    guarded_server: ApiServer, kind: str, spec: dict[str, Any], field: str
) -> None:
    said = refusal(guarded_server, kind, spec)
    assert f"{field}: " in said
    assert "looks like a key or a token" in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("kind", "spec", "warning"),
    [
        (
            "AIBackend",
            {**BACKEND, "endpoint": "http://api.example.com", "credential": {"secretRef": {"name": "k", "key": "k"}}},
            "spec.endpoint: is http, so the credential crosses the network in the clear: use https",
        ),
        (
            "AIPolicy",
            {"targetRefs": HERE, "authentication": {"methods": ["Anonymous"]}},
            "spec.authentication.methods: Anonymous lets in callers that present nothing",
        ),
        (
            "AIPolicy",
            {
                "targetRefs": HERE,
                "authentication": {"methods": ["JWT"], "jwt": [{**JWT, "issuer": "http://idp.example.com"}]},
            },
            "spec.authentication.jwt[0]: is http: whoever stands on the way can forge keys and tokens; use https",
        ),
        (
            "AIConsumer",
            {"credentials": {"apiKeys": [{"name": "old", "sha256": SHA, "notAfter": "2020-01-01T00:00:00Z"}]}},
            "spec.credentials.apiKeys[0].notAfter: has passed: the key will never work",
        ),
    ],
)
def test_what_is_perhaps_not_meant_is_a_warning(
    guarded_server: ApiServer, kind: str, spec: dict[str, Any], warning: str
) -> None:
    said = _apply(guarded_server, kind, spec)
    assert f"Warning: Validation failed for ValidatingAdmissionPolicy 'tidegate-{_plural(kind)}-warning'" in said
    assert warning in said


def test_inside_the_cluster_http_is_no_slip(guarded_server: ApiServer) -> None:
    credential = {"secretRef": {"name": "k", "key": "k"}}
    for endpoint in ("http://vllm.models.svc:8000/v1", "http://localhost:11434", "https://api.example.com"):
        said = _apply(guarded_server, "AIBackend", {**BACKEND, "endpoint": endpoint, "credential": credential})
        assert "Warning" not in said


def test_the_platform_namespace_may_attach_to_the_gateway(guarded_server: ApiServer) -> None:
    gateway = [{"kind": "Gateway"}]
    assert refusal(guarded_server, "AIPolicy", {**POLICY, "targetRefs": gateway}, namespace=PLATFORM) == ""
    assert refusal(guarded_server, "Quota", {**QUOTA, "targetRefs": gateway}, namespace=PLATFORM) == ""


def test_the_largest_objects_are_judged_within_the_cost_limits(guarded_server: ApiServer) -> None:
    networks = [f"10.{high}.{low}.0/24" for high in range(2) for low in range(128)]
    rules = [{"name": f"r{n}", "effect": "Deny", "when": "request.model == '" + "x" * 2000 + "'"} for n in range(64)]
    policy = {
        "targetRefs": HERE,
        "network": {"allow": networks, "deny": [f"2001:db8:{n:x}::/48" for n in range(256)]},
        "authorization": {"rules": rules},
        "rateLimits": [{"name": f"l{n}", "requests": 1, "period": "1d1h1m1s"} for n in range(16)],
    }
    assert refusal(guarded_server, "AIPolicy", policy) == ""
    wrong = {**policy, "network": {"allow": [*networks[1:], "10.0.0.1/8"]}}
    assert "spec.network.allow[255]: has bits set" in refusal(guarded_server, "AIPolicy", wrong)
    price = {
        "input": "1",
        "output": "1",
        "longContext": [{"above": n + 1, "input": "1", "output": "1"} for n in range(8)],
    }
    models = [{"name": f"m{n}", "price": price} for n in range(256)]
    assert refusal(guarded_server, "AIBackend", {**MOCK, "models": models}) == ""
    models[255] = {"name": "last", "price": {**price, "output": "100001"}}
    assert "spec.models[255].price.output" in refusal(guarded_server, "AIBackend", {**MOCK, "models": models})
    window = {"calendar": "Day", "timeZone": "Europe/Berlin"}
    amounts = {f"tier-{n}": "5" for n in range(16)}
    limits = [
        {"unit": "Expression", "expression": f"usage.inputTokens * {n}", "amount": "5", "tierAmounts": amounts}
        | {"window": window}
        for n in range(16)
    ]
    assert refusal(guarded_server, "Quota", {**QUOTA, "limits": limits}) == ""
    assert "spec.limits[15]" in refusal(guarded_server, "Quota", {**QUOTA, "limits": [*limits[:15], limits[0]]})


def test_what_was_stored_before_can_still_be_labelled_and_let_go(guarded_server: ApiServer) -> None:
    """A finalizer that could not be taken off would hang the deletion of the object, and of its namespace."""
    admin, path = guarded_server.admin, f"{GROUP}/namespaces/team-a/airoutes"
    binding = next(one for one in bindings() if one["metadata"]["name"] == "tidegate-airoutes-error")
    place = f"{REGISTRATION}/validatingadmissionpolicybindings/tidegate-airoutes-error"
    wrong = {**ROUTE, "timeout": "2h"}
    admin.delete(place)
    try:
        wait_until(lambda: refusal(guarded_server, "AIRoute", wrong) == "", what="the policy to be gone")
        metadata = {"name": "old", "finalizers": ["example.com/hold"]}
        body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": "AIRoute", "metadata": metadata, "spec": wrong}
        admin.create(path, body)
    finally:
        admin.apply(place, binding)
    wait_until(lambda: refusal(guarded_server, "AIRoute", wrong) != "", what="the policy to hold again")
    admin.patch(f"{path}/old", {"metadata": {"labels": {"team": "search"}}})
    with pytest.raises(ApiError, match=r"spec\.timeout: must be between 1ms and 1h"):
        admin.patch(f"{path}/old", {"spec": {"timeout": "3h"}})
    admin.delete(f"{path}/old")
    admin.patch(f"{path}/old", {"metadata": {"finalizers": []}})
    wait_until(lambda: _is_gone(guarded_server, f"{path}/old"), what="the route to be gone")


def test_privileges_are_asked_for_where_they_are_switched_on(guarded_server: ApiServer) -> None:
    admin = guarded_server.admin
    made = bindings({Severity.PRIVILEGE: ("Deny",)})
    for binding in made:
        admin.apply(f"{REGISTRATION}/validatingadmissionpolicybindings/{binding['metadata']['name']}", binding)
    rules = [{"apiGroups": ["tidegate.dev"], "resources": ["aipolicies"], "verbs": ["create", "update", "patch"]}]
    role = {"metadata": {"name": "authors"}, "rules": rules}
    admin.ensure(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{PLATFORM}/roles", role)
    subject = {"kind": "ServiceAccount", "name": "author", "namespace": PLATFORM}
    bound = {
        "metadata": {"name": "authors"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "authors"},
        "subjects": [subject],
    }
    admin.ensure(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{PLATFORM}/rolebindings", bound)
    body = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIPolicy",
        "metadata": {"name": "wide"},
        "spec": {**POLICY, "targetRefs": [{"kind": "Gateway"}]},
    }
    path = f"{GROUP}/namespaces/{PLATFORM}/aipolicies?dryRun=All"
    try:
        with guarded_server.rest(guarded_server.token_for(PLATFORM, "author")) as author:

            def says() -> str:
                try:
                    author.create(path, body)
                except ApiError as error:
                    return str(error)
                return ""

            wait_until(lambda: "needs the right to attach" in says(), what="the privilege to be asked for")
            role["rules"] = [*rules, {"apiGroups": ["tidegate.dev"], "resources": ["gateways"], "verbs": ["attach"]}]
            admin.patch(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{PLATFORM}/roles/authors", role)
            wait_until(lambda: says() == "", what="the privilege to be granted")
    finally:
        for binding in made:
            admin.delete(f"{REGISTRATION}/validatingadmissionpolicybindings/{binding['metadata']['name']}")


def test_every_policy_is_well_formed_and_small(guarded_server: ApiServer) -> None:
    listed = guarded_server.admin.list(f"{REGISTRATION}/validatingadmissionpolicies")
    assert {item["metadata"]["name"] for item in listed} >= {one["metadata"]["name"] for one in policies()}


def _apply(server: ApiServer, kind: str, spec: dict[str, Any]) -> str:
    """What kubectl says of a dry run, both streams."""
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": {"name": "perhaps"}, "spec": spec}
    ended = subprocess.run(
        [str(find_tools().kubectl), "-n", "team-a", "create", "--dry-run=server", "-f", "-"],
        env={**os.environ, "KUBECONFIG": str(server.admin_kubeconfig)},
        input=yaml.safe_dump(body),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def _plural(kind: str) -> str:
    return NAMES[kind].plural


def _is_gone(server: ApiServer, path: str) -> bool:
    try:
        server.admin.get(path)
    except ApiError as error:
        return error.status == 404
    return False
