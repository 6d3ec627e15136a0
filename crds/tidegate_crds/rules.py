"""Validation rules that the API server itself evaluates (CEL in the CRD), kept beside the model they judge."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CelRule:
    """One entry of `x-kubernetes-validations`.

    `rule` is a CEL expression over `self`; `message` names the field and says what would be right;
    `field_path` (such as `.mock`) is where the API server reports it, relative to the model it stands on.
    Only functions that Kubernetes and the offline evaluator share may be used: has, size, all, exists, exists_one,
    filter, map, startsWith, endsWith, contains, matches, `in`, and the operators.
    """

    rule: str
    message: str
    field_path: str = ""
