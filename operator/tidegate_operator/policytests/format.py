"""The shape of a `*.test.yaml` file. docs/reference/policy-tests.md describes it for people."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from tidegate_dataplane.snapshot.entries import Method, Operation


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Base of all parts: unknown fields are errors, and a field that is not given is UNSET."""


class RequestPart(Part, frozen=True):
    """What is asked, as in the question of `/-/explain`."""

    model: str | UnsetType = UNSET
    operation: Operation | UnsetType = UNSET
    path: str | UnsetType = UNSET
    host: str | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    source_ip: str | UnsetType = UNSET
    peer: str | UnsetType = UNSET
    proxy_headers: dict[str, str] | UnsetType = UNSET
    body_bytes: int | UnsetType = UNSET
    prompt_tokens: int | UnsetType = UNSET


class ExpectPart(Part, frozen=True):
    """What the answer must be; everything that is given must hold. Texts of the last five are looked for within.

    `listed`: the model stands in the caller's list of models.
    """

    allowed: bool | UnsetType = UNSET
    listed: bool | UnsetType = UNSET
    status: int | UnsetType = UNSET
    code: str | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    route: str | UnsetType = UNSET
    consumer: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    remedy: str | UnsetType = UNSET
    limits: tuple[str, ...] | UnsetType = UNSET
    targets: tuple[str, ...] | UnsetType = UNSET
    shadow: tuple[str, ...] | UnsetType = UNSET


class CasePart(Part, frozen=True):
    """A test, the defaults of all tests of a file, or a row of a table: each says only what it adds or changes."""

    name: str | UnsetType = UNSET
    who: str | UnsetType = field(default=UNSET, name="as")
    anonymous: bool | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    methods: tuple[Method, ...] | UnsetType = UNSET
    claims: dict[str, Any] | UnsetType = UNSET
    certificate: dict[str, str] | UnsetType = UNSET
    request: RequestPart | UnsetType = UNSET
    at: str | UnsetType = UNSET
    expect: ExpectPart | UnsetType = UNSET


class CaseOrTable(CasePart, frozen=True):
    """A test, or a table of tests: one for each row of `each`."""

    each: tuple[CasePart, ...] | UnsetType = UNSET


class FilePart(Part, frozen=True):
    """A whole file. `resources` are paths and globs beside it, `objects` whole manifests that stand before those."""

    tests: tuple[CaseOrTable, ...]
    resources: tuple[str, ...] = (".",)
    objects: tuple[dict[str, Any], ...] = ()
    defaults: CasePart = CasePart()
