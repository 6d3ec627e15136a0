"""The policies as a template of the Helm chart. Pure."""

from collections.abc import Callable
from typing import Any

from tidegate_crds.admission.policies import Object, bindings, policies
from tidegate_crds.admission.rule import PLATFORM_NAMESPACE, Severity

TEMPLATE = "charts/tidegate/templates/admission/policies.yaml"
_NAMESPACE = "{{ .Values.platformNamespace | default .Release.Namespace }}"
_ACTIONS = "__ACTIONS__"
_SELECTED = """  {{- with $.Values.admission.policies.namespaceSelector }}
  matchResources:
    namespaceSelector:
      {{- toYaml . | nindent 6 }}
  {{- end }}
"""
# transformList, and with it the places in lists that messages name, may be used from this version on.
_OLDEST = "1.33.0-0"


def chart_template(dump: Callable[[Any], str]) -> str:
    """The template; `dump` writes one object as YAML. Raises ValueError for a rule that Helm would take for its own."""
    parts = [
        "{{- if .Values.admission.policies.enabled }}",
        f'{{{{- if not (semverCompare ">={_OLDEST}" .Capabilities.KubeVersion.Version) }}}}',
        '{{- fail "admission.policies need Kubernetes 1.33 or newer: set admission.policies.enabled=false" }}',
        "{{- end }}",
    ]
    for policy in policies(PLATFORM_NAMESPACE):
        parts.append("---\n" + _plain(policy, dump))
    everywhere = dict.fromkeys(Severity, (_ACTIONS,))
    for binding in bindings(everywhere):
        severity = binding["metadata"]["labels"]["tidegate.dev/severity"]
        text = dump(binding).replace(f"  - {_ACTIONS}\n", "  {{- toYaml . | nindent 2 }}\n")
        given = f"{{{{- with .Values.admission.policies.validationActions.{severity} }}}}"
        parts.append(f"{given}\n---\n{text}{_SELECTED}{{{{- end }}}}")
    return "\n".join([*parts, "{{- end }}", ""])


def _plain(policy: Object, dump: Callable[[Any], str]) -> str:
    text = dump(policy)
    if "{{" in text:
        raise ValueError(f"{policy['metadata']['name']} holds two braces in a row, which Helm would take for its own")
    return text.replace(PLATFORM_NAMESPACE, _NAMESPACE).rstrip("\n")
