"""The generated CRDs on a real API server, and `schema_problems` against its verdicts."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.harness.apiserver import ApiServer
from cluster.harness.kubectl import Kubectl, KubectlFailed
from cluster.harness.rest import ApiError
from cluster.schema_cases import CASES, VALID, Case, base_manifest
from tidegate_crds.definition import NAMES, open_api_schema
from tidegate_operator.manifests import Manifest, read_manifests
from tidegate_operator.offline.judge import schema_problems
from tidegate_operator.offline.stored_form import stored_spec
from tidegate_operator.problems import Problem
from tidegate_operator.world import Kind

_CREATE = ("create", "--dry-run=server", "--validate=strict", "-o", "json")
_STRICT = "dryRun=All&fieldValidation=Strict"


@pytest.fixture(scope="module")
def server(api_server: ApiServer, crds: list[str]) -> ApiServer:
    """The API server with the CRDs and the namespace of the cases."""
    api_server.ensure_namespace("default")
    return api_server


def test_every_crd_is_established_and_structural(server: ApiServer, crds: list[str]) -> None:
    assert sorted(crds) == sorted(names.crd_name for names in NAMES.values())
    for name in crds:
        crd = server.admin.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("kind", NAMES)
def test_explain_describes_every_field(server: ApiServer, kubectl: Kubectl, kind: str) -> None:
    explained = kubectl.run("explain", NAMES[kind].plural, "--recursive")
    for path, description in _described_fields(open_api_schema(kind), ""):
        assert path.rsplit(".", 1)[-1] in explained
        assert len(description) > 4, path
    spec = kubectl.run("explain", f"{NAMES[kind].plural}.spec")
    for name, child in open_api_schema(kind)["properties"]["spec"]["properties"].items():
        assert f"  {name}\t<" in spec
        assert child["description"].split(".")[0][:50] in " ".join(spec.split())


@pytest.mark.parametrize("kind", NAMES)
def test_short_names_and_columns_read_well(server: ApiServer, kubectl: Kubectl, kind: str) -> None:
    kubectl.apply(json.dumps(base_manifest(kind)))
    try:
        shown = kubectl.run("get", NAMES[kind].short, "-n", "default", "-o", "wide")
    finally:
        kubectl.delete(NAMES[kind].plural, "case", namespace="default")
    header, row = shown.splitlines()
    assert header.split() == ["NAME", *(column.name.upper() for column in NAMES[kind].columns)]
    assert row.startswith("case")


def test_the_category_lists_every_kind(server: ApiServer, kubectl: Kubectl) -> None:
    for kind in VALID:
        kubectl.apply(json.dumps(base_manifest(kind)))
    try:
        listed = kubectl.run("get", "tidegate", "-A", "-o", "name").split()
    finally:
        for kind in VALID:
            kubectl.delete(NAMES[kind].plural, "case", namespace="default")
    assert sorted(listed) == sorted(f"{kind.lower()}.tidegate.dev/case" for kind in VALID)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_offline_and_server_give_one_verdict(server: ApiServer, case: Case) -> None:
    manifest = case.manifest()
    problems, refusal = offline(manifest), online(server, manifest)
    assert isinstance(refusal, str) == bool(problems), (refusal, problems)
    if isinstance(refusal, str):
        assert case.field is not None, refusal
        assert any(problem.field.startswith(case.field) for problem in problems), problems
        # The server names map keys its own way and speaks of the parent where a list item is null.
        named = case.field.rsplit("[", 1)[0] if case.field.endswith("]") else case.field
        assert named.removeprefix("metadata.") in refusal, refusal
    else:
        assert case.field is None
        assert stored_spec(Kind(case.kind), manifest["spec"]) == refusal["spec"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_offline_and_server_agree_on_random_changes(server: ApiServer, data: st.DataObject) -> None:
    manifest = base_manifest(data.draw(st.sampled_from(sorted(VALID))))
    for _ in range(data.draw(st.integers(1, 3))):
        _mutate(manifest["spec"], data)
    problems, refusal = offline(manifest), online(server, manifest)
    if problems and all(_server_lets_pass(problem) for problem in problems):
        return
    assert isinstance(refusal, str) == bool(problems), (manifest, refusal, problems)
    if not isinstance(refusal, str):
        assert stored_spec(Kind(manifest["kind"]), manifest["spec"]) == refusal["spec"]


@pytest.mark.parametrize(
    "line",
    [
        "retry: {conditions: [Connect]}",
        "retry: {on: [Connect]}",
        "retry: {attempts: 1.0}",
        "retry: {attempts: 1e0}",
        "retry: {attempts: 0x2}",
        "retry: {attempts: 010}",
        "retry: {attempts: 0o2}",
        "retry: {attempts: 08}",
        "retry: {attempts: 1_0}",
        "retry: {attempts: +1}",
        "retry: {attempts: ~}",
        "retry: {attempts: !!int 2}",
        "pathPrefix: yes",
        "pathPrefix: y",
        "allowedNamespaces: [y]",
        "allowedNamespaces: [N]",
        "allowedNamespaces: [no]",
        "allowedNamespaces: [nope]",
        "allowedNamespaces: ['y']",
        "allowedNamespaces: [1]",
        "allowedNamespaces: [1:20]",
        "allowedNamespaces: [2026-01-01]",
        "allowedNamespaces: [0x]",
        "timeout: 1:20",
        "timeout: 2026-01-01",
        "hostnames: [on]",
        "hostnames: [No]",
        "hostnames: [nO]",
        "hostnames: [1.5.2]",
        "hostnames: [0x]",
        "hostnames: [1e3]",
        "hostnames: [.5]",
        "hostnames: [12e]",
        "hostnames: [~]",
        'hostnames: ["on"]',
        "hostnames: [!!str 12]",
        "hostnames: [null]",
        "hostnames: [.nan]",
        "hostnames: []",
        "match: &m {headers: []}\n  placement: {clusterSelector: {matchLabels: {a: b}}}",
        "match: {headers: [&h {name: a, value: b}, {<<: *h, name: c}]}",
        "placement: {clusterSelector: {matchLabels: {1: b, true: c}}}",
        "placement: {clusterSelector: {matchLabels: {1.5: b, on: c}}}",
    ],
)
def test_yaml_is_read_as_kubectl_reads_it(server: ApiServer, kubectl: Kubectl, line: str) -> None:
    text = (
        "apiVersion: tidegate.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: case, namespace: default}\n"
        f"spec:\n  models: [chat]\n  targets: [{{backendRef: {{name: openai}}}}]\n  {line}\n"
    )
    answer = _created(kubectl, text)
    assert (answer is None) == bool(_judged(text)), _judged(text)
    if answer is None:
        return
    (manifest,) = read_manifests(text, "case.yaml")
    assert isinstance(manifest, Manifest)
    assert stored_spec(Kind.ROUTE, manifest.raw["spec"]) == answer["spec"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": {"a": "Zm9v"}},
        {"data": {"a": "Zm9"}},
        {"data": {"a": "Zm\n9v"}},
        {"data": {"a": "!"}},
        {"data": {"a": 1}},
        {"data": {"a": None}},
        {"data": {"a b": "Zm9v"}},
        {"stringData": {"a": "text"}},
        {"stringData": {"a": 1}},
        {"stringData": {"a": True}},
        {"stringdata": {"a": "b"}},
        {"type": "Opaque", "immutable": True},
        {"immutable": "yes"},
    ],
    ids=str,
)
def test_secrets_get_one_verdict(server: ApiServer, change: dict[str, Any]) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "case", "namespace": "default"}, **change}
    problems, refusal = offline(manifest), online(server, manifest)
    assert isinstance(refusal, str) == bool(problems), (refusal, problems)


def test_applying_twice_leaves_nothing_of_a_default_behind(server: ApiServer, kubectl: Kubectl) -> None:
    """A default of a set would be owned by nobody and stay beside what the author adds later."""
    manifest = base_manifest("AIRoute")
    del manifest["spec"]["operations"], manifest["spec"]["retry"]
    kubectl.apply(json.dumps(manifest))
    try:
        manifest["spec"] |= {"operations": ["Embeddings"], "retry": {"conditions": ["429"]}}
        kubectl.apply(json.dumps(manifest))
        spec = kubectl.get_json("airoute", "case", namespace="default")["spec"]
    finally:
        kubectl.delete("airoute", "case", namespace="default")
    assert spec["operations"] == ["Embeddings"]
    assert spec["retry"] == {"attempts": 2, "conditions": ["429"]}
    assert "weight" not in spec["targets"][1]


def test_a_quota_becomes_what_its_author_says_and_goes_back_to_its_defaults(
    server: ApiServer, kubectl: Kubectl
) -> None:
    """Lists that merge (grants by name, alertAt as a set) hold nothing that the author has taken away."""
    long = base_manifest("Quota")
    short = base_manifest("Quota")
    for name in ("accuracy", "failureMode", "parent", "share", "safeShare", "notify", "grants"):
        del short["spec"][name]
    short["spec"]["limits"] = [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Day"}}]
    try:
        for manifest in (short, long):
            kubectl.run(
                "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-", stdin=json.dumps(manifest)
            )
        changed = base_manifest("Quota")
        changed["spec"]["grants"][0]["amount"] = "7"
        changed["spec"]["grants"].append({**long["spec"]["grants"][0], "name": "second"})
        changed["spec"]["limits"][2]["alertAt"] = [90]
        for manifest in (changed, long, short):
            kubectl.run(
                "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-", stdin=json.dumps(manifest)
            )
            spec = kubectl.get_json("quota", "case", namespace="default")["spec"]
            assert spec == stored_spec(Kind.QUOTA, manifest["spec"])
    finally:
        kubectl.delete("quota", "case", namespace="default")
    assert (spec["accuracy"], spec["failureMode"], spec["per"]) == ("Local", "Closed", "Consumer")
    assert set(spec) == {"accuracy", "failureMode", "per", "limits", "targetRefs", "consumers"}


def _server_lets_pass(problem: Problem) -> bool:
    """kube-openapi does not check the type of a list where the schema has a format; the operator's accept pass does."""
    return problem.field.endswith(("notBefore", "notAfter")) and problem.message == "wrong type: a list"


def _created(kubectl: Kubectl, text: str) -> Any:
    """The object as kubectl would create it; None when it or the server refuses."""
    try:
        return json.loads(kubectl.run(*_CREATE, "-f", "-", stdin=text))
    except KubectlFailed:
        return None


def offline(manifest: dict[str, Any]) -> list[Problem]:
    """What `tidegate validate` says."""
    return _judged(json.dumps(manifest))


def online(server: ApiServer, manifest: dict[str, Any]) -> Any:
    """What the API server says: the object it would store, or the message of its refusal."""
    if manifest["kind"] == "Secret":
        path = "/api/v1/namespaces/default/secrets"
    else:
        path = f"/apis/tidegate.dev/v1alpha1/namespaces/default/{NAMES[manifest['kind']].plural}"
    try:
        return json.loads(server.admin.request("POST", f"{path}?{_STRICT}", manifest))
    except ApiError as error:
        if error.status not in (400, 422):
            raise
        return error.message


def _judged(text: str) -> list[Problem]:
    problems: list[Problem] = []
    for found in read_manifests(text, "case.yaml"):
        problems += schema_problems(found) if isinstance(found, Manifest) else [found]
    return problems


def _described_fields(node: dict[str, Any], path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, child in node.get("properties", {}).items():
        if path or name in ("spec", "status"):
            found += [(f"{path}.{name}", child.get("description", "")), *_described_fields(child, f"{path}.{name}")]
    if isinstance(node.get("items"), dict):
        found += _described_fields(node["items"], path)
    return found


_SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 20),
    st.floats(0, 3, width=16),
    st.sampled_from(
        ["", "a", "A", "*", "a b", "5s", "0", "Chat", "Mock", "OpenAI", "Namespace", "AIRoute", "é", "x\n"]
    ),
)
_JUNK = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "kind", "weight", "on", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)


_NEW_NAMES = ["name", "sliding", "mock", "tls", "apiVersion", "x", "weight"]


def _mutate(spec: Any, data: st.DataObject) -> None:
    """Change one place somewhere in `spec`: remove, replace, double, or add."""
    node, step = data.draw(st.sampled_from(_places(spec)))
    action = data.draw(st.sampled_from(["remove", "replace", "double", "add"]))
    if action == "remove":
        del node[step]
    elif action == "double" and isinstance(node, list):
        node.append(json.loads(json.dumps(node[step])))
    elif action == "add" and isinstance(node, dict):
        node[data.draw(st.sampled_from(["name", "sliding", "mock", "tls", "apiVersion", "x", "weight"]))] = data.draw(
            _JUNK
        )
    else:
        node[step] = data.draw(_JUNK)


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) below `node`; one that leads nowhere where there is none."""
    return list(_below(node)) or [({"x": 1}, "x")]


def _below(node: Any) -> Iterator[tuple[Any, Any]]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for step, child in items:
        yield node, step
        yield from _below(child)
