"""The chart's roles allow what the programs need, and nothing else: the API server's own authorizer is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import DATA_PLANE_ACCOUNT, OPERATOR_ACCOUNT
from cluster.harness.install import SYSTEM_NAMESPACE

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_GROUPS = dict.fromkeys(("airoutes", "aiconsumers", "aipolicies", "aisubscriptions", "aiapprovals"), "tidegate.dev")


@pytest.mark.parametrize(
    ("account", "verb", "resource", "elsewhere", "at_home"),
    [
        (DATA_PLANE_ACCOUNT, "get", "secrets/tidegate-default-credentials", False, True),
        (DATA_PLANE_ACCOUNT, "get", "configmaps/tidegate-default-00", False, True),
        (DATA_PLANE_ACCOUNT, "get", "configmaps/tidegate-default-l63", False, True),
        (DATA_PLANE_ACCOUNT, "get", "secrets/another", False, False),
        (DATA_PLANE_ACCOUNT, "list", "secrets", False, False),
        (DATA_PLANE_ACCOUNT, "list", "configmaps", False, False),
        (DATA_PLANE_ACCOUNT, "patch", "secrets/tidegate-default-credentials", False, False),
        (DATA_PLANE_ACCOUNT, "patch", "configmaps/tidegate-default", False, False),
        (DATA_PLANE_ACCOUNT, "list", "aiconsumers", False, False),
        (OPERATOR_ACCOUNT, "list", "secrets", True, True),
        (OPERATOR_ACCOUNT, "create", "secrets", True, True),  # by key-issuer.yaml
        (OPERATOR_ACCOUNT, "patch", "secrets/tidegate-default-credentials", True, True),  # elsewhere by key-issuer.yaml
        (OPERATOR_ACCOUNT, "patch", "secrets/another", True, True),  # by key-issuer.yaml
        (OPERATOR_ACCOUNT, "update", "secrets/another", False, False),
        (OPERATOR_ACCOUNT, "delete", "secrets/another", False, False),
        (OPERATOR_ACCOUNT, "delete", "secrets/tidegate-default-credentials", False, False),
        (OPERATOR_ACCOUNT, "list", "configmaps", True, True),
        (OPERATOR_ACCOUNT, "patch", "configmaps", False, True),
        (OPERATOR_ACCOUNT, "delete", "configmaps", False, True),
        (OPERATOR_ACCOUNT, "list", "airoutes", True, True),
        (OPERATOR_ACCOUNT, "patch", "airoutes", False, False),
        (OPERATOR_ACCOUNT, "delete", "aipolicies", False, False),
        (OPERATOR_ACCOUNT, "list", "aisubscriptions", True, True),
        (OPERATOR_ACCOUNT, "list", "aiapprovals", True, True),
        (OPERATOR_ACCOUNT, "create", "aiapprovals", False, False),
        (OPERATOR_ACCOUNT, "patch", "aisubscriptions", False, False),
        (DATA_PLANE_ACCOUNT, "list", "aiapprovals", False, False),
        (OPERATOR_ACCOUNT, "create", "events", True, True),
        (OPERATOR_ACCOUNT, "list", "events", False, False),
        (OPERATOR_ACCOUNT, "delete", "events", False, False),
        (DATA_PLANE_ACCOUNT, "create", "events", False, False),
        (OPERATOR_ACCOUNT, "list", "pods", False, False),
    ],
)
def test_what_a_service_account_may_do(
    api_server: ApiServer, rbac: list[Path], account: str, verb: str, resource: str, elsewhere: bool, at_home: bool
) -> None:
    allowed = [_may(api_server, account, verb, resource, namespace) for namespace in ("default", SYSTEM_NAMESPACE)]
    assert allowed == [elsewhere, at_home]


def _may(server: ApiServer, account: str, verb: str, resource: str, namespace: str) -> bool:
    plural, _, name = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": _GROUPS.get(plural, ""),
        "resource": plural,
        "name": name,
    }
    user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{account}"
    review = server.admin.create(_REVIEWS, {"spec": {"user": user, "resourceAttributes": attributes}})
    return bool(review["status"]["allowed"])
