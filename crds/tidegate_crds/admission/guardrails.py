"""What the compiler takes and people had better not do: secrets in plain text, slips, and what needs a privilege."""

from collections.abc import Iterator

from tidegate_crds.admission import cel
from tidegate_crds.admission.cel import either, quoted
from tidegate_crds.admission.rule import PLATFORM_NAMESPACE, Rule, Severity, about, about_each


def guardrails() -> tuple[Rule, ...]:
    """All of them, of every kind."""
    return (*_credentials(), *_advice(), *_privileges())


def _credentials() -> Iterator[Rule]:
    looks = cel.credential()
    severity = Severity.CREDENTIAL
    lists = (
        ("AIRoute", "headers", "spec.?match.?headers", "i.value", ".value"),
        ("AIPolicy", "rules", "spec.?authorization.?rules", "i.?when.orValue('')", ".when"),
        ("AIPolicy", "signals", "spec.?risk.?signals", "i.?when.orValue('')", ".when"),
        ("Quota", "grants", "spec.?grants", "i.?reason.orValue('')", ".reason"),
    )
    for kind, name, path, pick, suffix in lists:
        yield Rule(kind, name, about_each(path, pick, looks, suffix), severity)
    for name in ("jwt", "introspection"):
        values = either(
            f"x.exists(k, [x[k]].map(x, {looks}).exists(m, m != ''))",
            "holds what looks like a key or a token: match by claims that are no secret, such as sub, and replace it",
        )
        yield Rule("AIConsumer", name, about_each(f"spec.?credentials.?{name}", "i.match", values, ".match"), severity)
    attributes = "object.spec.?attributes.orValue({})"
    yield Rule(
        "AIConsumer",
        "attributes",
        f"{attributes}.map(k, {attributes}[k]).map(x, {looks}).filter(m, m != '').map(m, 'spec.attributes: ' + m)",
        severity,
    )
    for kind, path in (
        ("AIBackend", "spec.?mock.?reply"),
        ("AISubscription", "spec.?reason"),
        ("Quota", "spec.?key.?expression"),
    ):
        yield Rule(kind, path.rsplit("?", 1)[1], about(path, looks), severity)


def _advice() -> Iterator[Rule]:
    severity = Severity.WARNING
    local = quoted(r"^http://(localhost|127\.[0-9.]+|\[::1\]|[^/:]+\.svc(\.[^/:]+)?)([:/]|$)")
    clear = either(
        f"x.startsWith('http://') && !x.matches({local})",
        "is http, so the credential crosses the network in the clear: use https",
    )
    guarded = "(has(object.spec.credential) ? object.spec.?endpoint : optional.none())"
    text = f"[{guarded}.orValue('')].map(x, {clear}).filter(m, m != '').map(m, 'spec.endpoint: ' + m)"
    yield Rule("AIBackend", "clearText", text, severity)
    forged = either(
        f"x.startsWith('http://') && !x.matches({local})",
        "is http: whoever stands on the way can forge keys and tokens; use https",
    )
    jwt = "spec.?authentication.?jwt"
    yield Rule("AIPolicy", "clearKeys", about_each(jwt, "i.?jwksUri.orValue(i.issuer)", forged, ""), severity)
    anonymous = (
        "spec.authentication.methods: Anonymous lets in callers that present nothing, where every attached policy"
        " lists it"
    )
    methods = "object.spec.?authentication.?methods.orValue([])"
    yield Rule("AIPolicy", "anonymous", f"{methods}.exists(m, m == 'Anonymous') ? [{quoted(anonymous)}] : []", severity)
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    empty = either(f"x == '{nothing}'", "is the SHA-256 of nothing: hash the key itself")
    keys = "spec.?credentials.?apiKeys"
    yield Rule("AIConsumer", "emptyHash", about_each(keys, "i.?sha256.orValue('')", empty, ".sha256"), severity)
    ends, created = "x.?notAfter.orValue('')", "object.metadata.?creationTimestamp.orValue('')"
    past = either(
        f"request.operation == 'CREATE' && {cel.is_time(ends)} && {cel.is_time(created)}"
        f" && timestamp({ends}) <= timestamp({created})",
        "has passed: the key will never work",
    )
    yield Rule("AIConsumer", "expired", about_each(keys, "i", past, ".notAfter"), severity)


def _privileges() -> Iterator[Rule]:
    """What only those may do who have the verb `attach` on `gateways` of the group (there are no such objects)."""
    allowed = (
        "authorizer.group('tidegate.dev').resource('gateways').namespace(object.metadata.namespace)"
        ".check('attach').allowed()"
    )
    gateway = "object.spec.?targetRefs.orValue([]).exists(t, t.kind == 'Gateway')"
    missing = "needs the right to attach to gateways.tidegate.dev in this namespace: ask the platform's owners"
    for kind in ("AIPolicy", "Quota"):
        message = f"spec.targetRefs: kind Gateway {missing}"
        yield Rule(kind, "gateway", f"{gateway} && !{allowed} ? ['x'] : []", Severity.PRIVILEGE, message)
    default = "object.spec.?strength.orValue('Required') == 'Default'"
    was = "request.operation == 'UPDATE' && oldObject.spec.?strength.orValue('Required') != 'Default'"
    text = f"{was} && {default} && object.metadata.namespace == '{PLATFORM_NAMESPACE}' && !{allowed} ? ['x'] : []"
    message = f"spec.strength: to weaken a policy from Required to Default {missing}"
    yield Rule("AIPolicy", "strength", text, Severity.PRIVILEGE, message)
