"""The ValidatingAdmissionPolicies and their bindings, as plain data. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate_crds.admission.guardrails import guardrails
from tidegate_crds.admission.rule import PLATFORM_NAMESPACE, Rule, Severity
from tidegate_crds.admission.rules import error_rules, zones
from tidegate_crds.definition import NAMES
from tidegate_crds.v1alpha1 import GROUP, VERSION

API_VERSION = "admissionregistration.k8s.io/v1"
DEFAULT_ACTIONS: Mapping[Severity, tuple[str, ...]] = {
    Severity.ERROR: ("Deny",),
    Severity.CREDENTIAL: ("Deny",),
    Severity.WARNING: ("Warn",),
    Severity.PRIVILEGE: (),
}
"""What the API server does; nothing (no binding) for what is off by default."""

Object = dict[str, Any]

_SUBJECT = {
    Severity.ERROR: "what the compiler would refuse",
    Severity.CREDENTIAL: "keys and tokens in plain text",
    Severity.WARNING: "what is valid and perhaps not meant",
    Severity.PRIVILEGE: "what only the platform's owners may do",
}
_FALLBACK = "spec: is not valid; `tidegate validate` says where and why"
# An unchanged spec is not judged again, so that labels and finalizers of what was stored before can be changed.
_CHANGED: Object = {
    "name": "spec-changed",
    "expression": "request.operation == 'CREATE' || object.spec != oldObject.spec",
}


def policies(platform_namespace: str = "tidegate-system", *, prefix: str = "tidegate") -> list[Object]:
    """One policy for each kind and severity that has rules."""
    made = []
    rules = (*error_rules(), *guardrails())
    for severity in Severity:
        for kind in NAMES:
            mine = [rule for rule in rules if rule.kind == kind and rule.severity is severity]
            if mine:
                made.append(_policy(kind, severity, mine, platform_namespace, prefix))
    return made


def bindings(
    actions: Mapping[Severity, Sequence[str]] = DEFAULT_ACTIONS,
    *,
    namespace_selector: Object | None = None,
    prefix: str = "tidegate",
) -> list[Object]:
    """Bindings of those policies whose severity has actions, for all namespaces or the selected ones."""
    made = []
    for policy in policies(prefix=prefix):
        name, severity = policy["metadata"]["name"], Severity(policy["metadata"]["labels"][f"{GROUP}/severity"])
        if actions.get(severity):
            spec: Object = {"policyName": name, "validationActions": list(actions[severity])}
            if namespace_selector:
                spec["matchResources"] = {"namespaceSelector": namespace_selector}
            made.append(_object("ValidatingAdmissionPolicyBinding", name, severity, spec))
    return made


def _policy(kind: str, severity: Severity, rules: Sequence[Rule], platform_namespace: str, prefix: str) -> Object:
    variables = [{"name": rule.name, "expression": _placed(rule.findings, platform_namespace)} for rule in rules]
    if any("variables.zones" in rule.findings for rule in rules):
        variables.insert(0, {"name": "zones", "expression": zones()})
    if not any(rule.message for rule in rules):
        # The API server tells only the first failure: all findings go into one.
        found = " + ".join(f"variables.{rule.name}" for rule in rules)
        variables.append({"name": "findings", "expression": found})
    strict = severity in (Severity.CREDENTIAL, Severity.PRIVILEGE)
    spec: Object = {
        # What cannot be evaluated is left to the compiler, which judges everything again; it never judges these two.
        "failurePolicy": "Fail" if strict else "Ignore",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [GROUP],
                    "apiVersions": [VERSION],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": [NAMES[kind].plural],
                }
            ]
        },
        "matchConditions": [_CHANGED],
        "variables": variables,
        "validations": _validations(severity, rules),
    }
    name = f"{prefix}-{NAMES[kind].plural}-{severity}"
    made = _object("ValidatingAdmissionPolicy", name, severity, spec)
    made["metadata"]["annotations"] = {f"{GROUP}/about": f"{kind}: {_SUBJECT[severity]}."}
    return made


def _validations(severity: Severity, rules: Sequence[Rule]) -> list[Object]:
    reason = "Forbidden" if severity is Severity.PRIVILEGE else "Invalid"
    if any(rule.message for rule in rules):
        return [
            {"expression": f"variables.{rule.name} == []", "message": rule.message, "reason": reason} for rule in rules
        ]
    return [
        {
            "expression": "variables.findings == []",
            "message": _FALLBACK,
            "messageExpression": "variables.findings.join('; ')",
            "reason": reason,
        }
    ]


def _object(kind: str, name: str, severity: Severity, spec: Object) -> Object:
    labels = {"app.kubernetes.io/part-of": "tidegate", f"{GROUP}/severity": str(severity)}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}


def _placed(text: str, platform_namespace: str) -> str:
    return text.replace(PLATFORM_NAMESPACE, platform_namespace)
