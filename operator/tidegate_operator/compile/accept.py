"""Pass 'accept': judge one object by itself, and lower its own content.

What an object means to others (references, attachments, claims) is the business of the later passes. This pass never
raises, whatever a spec holds: what cannot be read becomes findings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from tidegate_crds.v1alpha1.aiapproval import AIApprovalSpec
from tidegate_crds.v1alpha1.aibackend import AIBackendSpec
from tidegate_crds.v1alpha1.aiconsumer import AIConsumerSpec
from tidegate_crds.v1alpha1.aipolicy import AIPolicySpec
from tidegate_crds.v1alpha1.airoute import AIRouteSpec
from tidegate_crds.v1alpha1.aisubscription import AISubscriptionSpec
from tidegate_crds.v1alpha1.quota import QuotaSpec
from tidegate_crds.v1alpha1.shapes import Shape
from tidegate_dataplane.snapshot.entries import Entry, RouteEntry, TargetRef
from tidegate_operator.compile.canonical import canonical
from tidegate_operator.compile.claims import RouteClaim, claim_of
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.compile.content.approval import approval_content
from tidegate_operator.compile.content.backend import backend_content
from tidegate_operator.compile.content.consumer import consumer_content
from tidegate_operator.compile.content.policy import policy_content
from tidegate_operator.compile.content.quota import quota_content
from tidegate_operator.compile.content.route import route_content
from tidegate_operator.compile.content.subscription import subscription_content
from tidegate_operator.compile.lenient import lenient_placement, lenient_revoked, lenient_target_refs
from tidegate_operator.compile.place import is_placed
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.schema_errors import report
from tidegate_operator.compile.schema_rules import check_rules
from tidegate_operator.compile.spec_shape import has_rules
from tidegate_operator.verdicts import Finding, Verdict
from tidegate_operator.world import Facts, Kind, Resource

_SpecT = TypeVar("_SpecT", bound=Shape)
_EntryT = TypeVar("_EntryT", bound=Entry)
_ATTACHING = (Kind.POLICY, Kind.QUOTA)


@dataclass(frozen=True, slots=True)
class Judged:
    """One object judged by itself.

    `content` is its entry without derived parts, None when the spec is not valid. `placed` speaks of that content, or
    of what can be read of an invalid spec. `refs` is what a policy or quota that is not valid seems to be attached to.
    `clean` is its verdict if nothing else turns up. `revoked` is set for an approval that is not valid and says so.
    """

    resource: Resource
    content: AnyEntry | None
    errors: tuple[Finding, ...]
    placed: bool
    clean: Verdict
    claim: RouteClaim = ()
    refs: tuple[TargetRef, ...] = ()
    revoked: bool = False


def judge(resource: Resource, facts: Facts) -> Judged:
    """Judge one object; never raises."""
    problems = Problems()
    content = _content(resource, facts, problems)
    errors = problems.found()
    if errors:
        content = None
    selector = content.placement if content is not None else lenient_placement(resource.spec)
    placed = is_placed(selector, facts.cluster)
    return Judged(
        resource=resource,
        content=content,
        errors=errors,
        placed=placed,
        clean=Verdict(resource.key, resource.generation, resource.generation if placed else None, placed=placed),
        claim=claim_of(content) if isinstance(content, RouteEntry) else (),
        refs=lenient_target_refs(resource, facts) if content is None and resource.key.kind in _ATTACHING else (),
        revoked=content is None and resource.key.kind is Kind.APPROVAL and lenient_revoked(resource.spec),
    )


def _content(resource: Resource, facts: Facts, problems: Problems) -> AnyEntry | None:
    match resource.key.kind:
        case Kind.BACKEND:
            return _lower(resource, AIBackendSpec, backend_content, facts, problems)
        case Kind.ROUTE:
            return _lower(resource, AIRouteSpec, route_content, facts, problems)
        case Kind.CONSUMER:
            return _lower(resource, AIConsumerSpec, consumer_content, facts, problems)
        case Kind.POLICY:
            return _lower(resource, AIPolicySpec, policy_content, facts, problems)
        case Kind.QUOTA:
            return _lower(resource, QuotaSpec, quota_content, facts, problems)
        case Kind.SUBSCRIPTION:
            return _lower(resource, AISubscriptionSpec, subscription_content, facts, problems)
        case Kind.APPROVAL:
            return _lower(resource, AIApprovalSpec, approval_content, facts, problems)


def _lower(
    resource: Resource,
    model: type[_SpecT],
    lower: Callable[[Resource, _SpecT, Facts, Problems], _EntryT],
    facts: Facts,
    problems: Problems,
) -> _EntryT | None:
    spec = _validate(resource.spec, model, problems)
    return None if spec is None else canonical(lower(resource, spec, facts, problems))


def _validate(spec: Any, model: type[_SpecT], problems: Problems) -> _SpecT | None:
    """The spec as its model, or None with problems noted.

    Validation goes through JSON, strictly, because that is what the API server sees: "4" is no number, 1 is no text.
    """
    if not isinstance(spec, Mapping):
        problems.add("spec", "is required and must be a map of fields")
        return None
    try:
        data = msgspec.json.encode(dict(spec))
    except (TypeError, ValueError, OverflowError, RecursionError):
        problems.add("spec", "is nested too deeply or is not plain JSON")
        return None
    try:
        valid = model.model_validate_json(data, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        report(error, model, problems)
        return None
    if has_rules(model):
        check_rules(model, valid.model_dump(mode="json", by_alias=True, exclude_none=True), problems)
    return None if problems.found() else valid
