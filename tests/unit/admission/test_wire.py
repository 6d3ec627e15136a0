"""AdmissionReview in and out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.admission.findings import Answer, Operation, Topic
from tidegate_operator.admission.wire import Unreadable, change_of, read_review, write_review
from tidegate_operator.world import Kind, ObjectKey


def _object(name: str = "chat", generation: int = 1, **meta: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team-a", "uid": "u", "generation": generation, **meta}
    return {"kind": "AIRoute", "metadata": metadata, "spec": {"models": ["chat"]}}


def _body(operation: str = "CREATE", **request: Any) -> bytes:
    resource = {"group": "tidegate.dev", "version": "v1alpha1", "resource": "airoutes"}
    whole = {"uid": "abc", "resource": resource, "operation": operation, "namespace": "team-a", **request}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": whole}).encode()


def test_a_creation_is_read() -> None:
    change = change_of(read_review(_body(object=_object(creationTimestamp="2026-01-01T00:00:00Z"), oldObject=None)))
    assert change is not None
    assert (change.operation, change.key) == (Operation.CREATE, ObjectKey(Kind.ROUTE, "team-a", "chat"))
    assert change.before is None
    assert change.after is not None
    assert change.after.created == 1767225600


def test_an_update_is_another_generation_also_where_none_is_told() -> None:
    change = change_of(read_review(_body("UPDATE", object=_object(), oldObject=_object())))
    assert change is not None
    assert change.before is not None
    assert change.after is not None
    assert change.after.generation > change.before.generation


def test_a_deletion_has_only_the_old_object() -> None:
    change = change_of(read_review(_body("DELETE", object=None, oldObject=_object())))
    assert change is not None
    assert change.after is None
    assert change.before is not None


def test_what_is_no_concern_of_the_webhook_is_left_alone() -> None:
    other = {"group": "apps", "version": "v1", "resource": "deployments"}
    deleted = _object(deletionTimestamp="2026-01-01T00:00:00Z")
    for body in (
        _body(object=_object(), resource=other),
        _body("UPDATE", object=_object(), oldObject=_object(), subResource="status"),
        _body("UPDATE", object=deleted, oldObject=_object()),
        _body("CONNECT", object=_object()),
    ):
        assert change_of(read_review(body)) is None


def test_the_annotation_insists() -> None:
    for value, insists in (("Warn", True), ("warn", False), ("", False)):
        change = change_of(read_review(_body(object=_object(annotations={"tidegate.dev/admission": value}))))
        assert change is not None
        assert change.insists is insists


SECRET = "sk-abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {}}).encode(),
        _body().replace(b'"uid": "abc", ', b""),
        _body(object={"metadata": {"name": [SECRET]}}),
        _body(object={"metadata": {"name": "a", "generation": SECRET}, "spec": 7}),
        _body(object={"metadata": {"name": "a"}, "spec": SECRET}),
    ],
)
def test_hostile_bodies_are_refused_without_being_quoted(body: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        change_of(read_review(body))
    assert SECRET not in str(refused.value)


def test_a_review_without_object_or_name_is_refused() -> None:
    for body in (_body(object=None), _body(object={"metadata": {"name": ""}}), _body("DELETE", object=_object())):
        with pytest.raises(Unreadable):
            change_of(read_review(body))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with pytest.raises(Unreadable):
        change_of(read_review(body))


def test_an_answer_is_what_the_api_server_reads() -> None:
    sent = json.loads(write_review("abc", Answer(False, ("mind this",), "no", (Topic.LOCKOUT,))))
    assert sent == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "abc",
            "allowed": False,
            "warnings": ["mind this"],
            "auditAnnotations": {"findings": "lockout"},
            "status": {"code": 403, "reason": "Forbidden", "message": "no"},
        },
    }
    assert json.loads(write_review("abc", Answer(True)))["response"] == {"uid": "abc", "allowed": True}
