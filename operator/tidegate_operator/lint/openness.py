"""What is open to more callers than its author may have meant."""

from collections.abc import Iterator

from tidegate_dataplane.runtime.objects import NOBODY
from tidegate_operator.inquiry.calls import ANY, calls_on, let_in
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.lint.reach import always
from tidegate_operator.world import Kind, ObjectKey


def openness(view: View) -> Iterator[Finding]:
    """Routes, rules and backends; that a route lets everybody in is tried on the engine."""
    for key in view.routes:
        yield from _route(view, key)
    for key, backend in view.backends.items():
        if "*" in backend.allowed_namespaces:
            message = "routes of every namespace may use it and spend its credential"
            yield Finding(Code.BACKEND_OPEN_TO_ALL, key, "spec.allowedNamespaces", message)
    yield from _rules(view)


def _route(view: View, key: ObjectKey) -> Iterator[Finding]:
    route = view.runtime.routes.get(f"{key.namespace}/{key.name}")
    if route is None:
        return
    if view.reach.may_enter_anonymously(route) and _tried(view, key):
        yield Finding(Code.OPEN_TO_EVERYBODY, key, "", "it lets in callers without any credential")
    elif route.admits is None and not route.guard.allow and route.subscriptions is None and route.guard.gates:
        message = "it admits consumers of every namespace, and no Allow rule says which of them"
        yield Finding(Code.OPEN_TO_ALL_NAMESPACES, key, "spec.allowedNamespaces", message)


def _tried(view: View, key: ObjectKey) -> bool:
    """Whether the engine lets in a call that shows nothing."""
    route = view.runtime.routes[f"{key.namespace}/{key.name}"]
    for operation in route.entry.operations:
        for model in route.entry.models:
            name = f"{model[:-1]}{ANY}" if model.endswith("*") else model
            calls = calls_on(route, name, operation, "")
            if any(decision.route is route for _, _, decision in let_in(view.runtime, calls, (NOBODY,), view.now)):
                return True
    return False


def _rules(view: View) -> Iterator[Finding]:
    for name, policy in sorted(view.runtime.policies.items()):
        namespace, _, own = name.partition("/")
        key = ObjectKey(Kind.POLICY, namespace, own)
        for rule in policy.allow:
            bare = rule.roles is None and rule.operations is None and (rule.models is None or rule.models.everything)
            if bare and always(rule) and (rule.versions is None or rule.versions.everything):
                field = view.item(key, "spec.authorization.rules", rule.ref.rule)
                message = f"rule {rule.ref.rule} allows every call, so the other Allow rules beside it have no meaning"
                yield Finding(Code.ALLOWS_EVERYTHING, key, field, message)
