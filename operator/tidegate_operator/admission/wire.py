"""AdmissionReview (admission.k8s.io/v1), in and out, as "Dynamic Admission Control" of the Kubernetes docs has it.

Whatever is not such a review of one of Tidegate's kinds raises Unreadable, whose text never quotes what came in.
"""

from typing import Any

import msgspec

from tidegate_operator.admission.findings import ANNOTATION, Answer, Change, Operation
from tidegate_operator.ingest import CustomObject, seen_object
from tidegate_operator.resources import GROUP, RESOURCES
from tidegate_operator.world import ObjectKey, Resource

API_VERSION = "admission.k8s.io/v1"
_KIND = "AdmissionReview"
_KINDS = {resource.plural: kind for kind, resource in RESOURCES.items()}
MOST_BYTES = 8 * 1024 * 1024
"""Twice what the API server takes for one object, for the object before and after, and something for the frame."""


class Unreadable(ValueError):
    """The body is no review that can be judged; the message says why."""


class GroupResource(msgspec.Struct):
    """metav1.GroupVersionResource."""

    group: str = ""
    version: str = ""
    resource: str = ""


class Request(msgspec.Struct):
    """AdmissionRequest, as far as it is read."""

    uid: str
    resource: GroupResource
    operation: str
    name: str = ""
    namespace: str = ""
    subresource: str = msgspec.field(name="subResource", default="")
    dry_run: bool | None = msgspec.field(name="dryRun", default=None)
    object: CustomObject | None = None
    old_object: CustomObject | None = msgspec.field(name="oldObject", default=None)


class Review(msgspec.Struct):
    """The body of the call."""

    api_version: str = msgspec.field(name="apiVersion")
    kind: str
    request: Request


def read_review(body: bytes) -> Request:
    """The request of a review. Raises Unreadable."""
    try:
        review = msgspec.json.decode(body, type=Review)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not the error's own text: it may quote the object.
        raise Unreadable(f"the body is no {_KIND} of {API_VERSION}: {type(error).__name__}") from None
    if review.api_version != API_VERSION or review.kind != _KIND:
        raise Unreadable(f"the body is no {_KIND} of {API_VERSION}")
    return review.request


def change_of(request: Request) -> Change | None:
    """The change that is asked about; None for what is no concern of ours. Raises Unreadable."""
    kind = _KINDS.get(request.resource.resource)
    if kind is None or request.resource.group != GROUP or request.subresource:
        return None
    if request.operation not in Operation.__members__:
        return None
    operation = Operation(request.operation)
    given = request.old_object if operation is Operation.DELETE else request.object
    if given is None:
        raise Unreadable(f"a review of {operation} needs the object")
    # A generated name is chosen before admission, so the object always has one.
    name, namespace = given.metadata.name or request.name, given.metadata.namespace or request.namespace
    if not name or not namespace:
        raise Unreadable("the object has no name or no namespace")
    key = ObjectKey(kind, namespace, name)
    before = _resource(key, request.old_object) if operation is not Operation.CREATE else None
    after = _resource(key, request.object) if operation is not Operation.DELETE else None
    if operation is Operation.UPDATE and request.object is not None and request.object.metadata.deleted:
        # Only its finalizers are taken off.
        return None
    if before is not None and after is not None and after.generation <= before.generation:
        after = _next(after, before)
    annotations = given.metadata.annotations or {}
    return Change(operation, key, before, after, insists=annotations.get(ANNOTATION) == "Warn")


def write_review(uid: str, given: Answer) -> bytes:
    """The answer, as the body to send."""
    response: dict[str, Any] = {"uid": uid, "allowed": given.allowed}
    if given.warnings:
        response["warnings"] = list(given.warnings)
    if given.topics:
        response["auditAnnotations"] = {"findings": ",".join(given.topics)}
    if not given.allowed:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": given.message}
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": _KIND, "response": response})


def _resource(key: ObjectKey, item: CustomObject | None) -> Resource | None:
    if item is None:
        return None
    seen = seen_object(key.kind, item).resource
    return Resource(key=key, spec=seen.spec, generation=seen.generation, uid=seen.uid, created=seen.created)


def _next(after: Resource, before: Resource) -> Resource:
    """The compiler tells forms of an object apart by generation."""
    return Resource(after.key, after.spec, before.generation + 1, after.uid, after.created)
