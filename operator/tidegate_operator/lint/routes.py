"""Routes that are not served, that nobody can call, whose calls go elsewhere, and targets that take none."""

from collections.abc import Iterator

from tidegate_dataplane.runtime.objects import Route
from tidegate_dataplane.runtime.table import ANY_HOST
from tidegate_dataplane.snapshot.entries import Method, Operation
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.world import Kind, ObjectKey

_MOST_TRIED = 200_000
"""Look-ups for partly shadowed routes; worlds that would need more are not searched for them."""
_OTHER = "\x00"


def routes(view: View) -> Iterator[Finding]:
    """Who can call, and where the calls go."""
    enterable = view.reach.enterable()
    hosts = [host for host in view.runtime.table.hosts if host != ANY_HOST]
    claims = sum(len(route.entry.models) * len(route.entry.operations) for route in view.runtime.routes.values())
    affordable = claims * (len(hosts) + 1) <= _MOST_TRIED
    for key in view.routes:
        route = view.runtime.routes.get(f"{key.namespace}/{key.name}")
        if route is None:
            continue
        yield from _callers(view, key, route, enterable)
        yield from _targets(view, key, route)
        if affordable:
            yield from _shadowed(view, key, route, hosts)


def _callers(view: View, key: ObjectKey, route: Route, enterable: set[str]) -> Iterator[Finding]:
    guard = route.guard
    if not guard.gates and not route.unavailable:
        message = "no policy that is enforced on it has an authentication section, so every call is answered 401"
        yield Finding(Code.ROUTE_WITHOUT_AUTHENTICATION, key, "", message)
        return
    anonymous = view.reach.may_enter_anonymously(route)
    if route.key not in enterable and not anonymous and not view.reach.may_enter_unnamed(route):
        yield Finding(Code.ROUTE_WITHOUT_CALLER, key, "", "no consumer can pass its policies")
    for method in (Method.JWT, Method.INTROSPECTION):
        asking = [gate for gate in guard.gates if method in gate.methods | gate.all_of]
        if asking and method not in guard.providers:
            ref = asking[0].ref
            namespace, _, name = ref.key.partition("/")
            message = f"no policy on AIRoute {route.key} names a provider for {method}: no token is taken there"
            policy = ObjectKey(Kind.POLICY, namespace, name)
            yield Finding(Code.METHOD_WITHOUT_PROVIDER, policy, "spec.authentication.methods", message)


def _targets(view: View, key: ObjectKey, route: Route) -> Iterator[Finding]:
    entry = route.entry
    for index, target in enumerate(view.spec(key).get("targets", ())):
        if isinstance(target, dict) and target.get("weight") == 0:
            message = "it has weight 0 and takes no calls"
            yield Finding(Code.TARGET_WITHOUT_TRAFFIC, key, f"spec.targets[{index}].weight", message)
    if len(route.tiers) > 1 and (entry.retry_attempts == 0 or not entry.retry_on):
        message = "it has targets of several priorities, and retries nothing: only the first are ever tried"
        yield Finding(Code.FAILOVER_NEVER_TRIED, key, "spec.retry", message)


def _shadowed(view: View, key: ObjectKey, route: Route, hosts: list[str]) -> Iterator[Finding]:
    """Calls are looked up as a data plane would; one that another route takes is proof."""
    entry = route.entry
    prefix = entry.path_prefix.rstrip("/") or "/"
    headers = dict(entry.headers)
    told: set[str] = set()
    for operation in entry.operations:
        for model in entry.models:
            for host, name, why in _tried(view, route, hosts, operation, model, prefix):
                claim = view.runtime.table.find(host, prefix, operation, name, headers)
                if claim is None or claim[0] in told or claim[0] == route.key:
                    continue
                other = view.runtime.routes[claim[0]]
                if _more_specific(other, route):
                    continue
                told.add(claim[0])
                whose = f"AIRoute {claim[0]}" if other.namespace == key.namespace else "a route of another namespace"
                message = f"{whose} comes first for {why} and takes {operation} calls that meet {_condition(route)}"
                yield Finding(Code.ROUTE_PARTLY_SHADOWED, key, "", message)


def _tried(
    view: View, route: Route, hosts: list[str], operation: Operation, model: str, prefix: str
) -> Iterator[tuple[str, str, str]]:
    """Host, model and what another route may come first by."""
    own = model[:-1] + _OTHER if model.endswith("*") else model
    entry = route.entry
    for pattern in entry.hostnames or (ANY_HOST,):
        host = pattern.replace("*", _OTHER, 1)
        if prefix != "/" or entry.headers or not model.endswith("*"):
            for other in hosts:
                if other != pattern and _within(other, pattern):
                    yield other.replace("*", _OTHER, 1), own, f"the host name {other}"
        if entry.headers and model.endswith("*"):
            operations = view.runtime.table.hosts.get(pattern, {}).get(prefix, {})
            models = operations.get(operation)
            if models is not None:
                exact = (name for name in models.exact if name.startswith(model[:-1]))
                longer = (stem + _OTHER for stem in models.globs if stem.startswith(model[:-1]) and stem != model[:-1])
                for name in (*exact, *longer):
                    yield host, name, f"the model {name.replace(_OTHER, '*')}"


def _within(host: str, pattern: str) -> bool:
    """Whether a host name, or all that a wildcard stands for, is claimed by the pattern as well."""
    return pattern == ANY_HOST or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern)


def _more_specific(other: Route, route: Route) -> bool:
    """Whether the other asks for at least as much in path, model and headers: then it is meant to come first."""
    mine, theirs = route.entry, other.entry
    if not set(mine.headers) <= set(theirs.headers):
        return False
    path = mine.path_prefix.rstrip("/")
    if theirs.path_prefix.rstrip("/") != path and not theirs.path_prefix.startswith(f"{path}/"):
        return False
    exact = any(not model.endswith("*") for model in mine.models)
    return not exact or any(not model.endswith("*") for model in theirs.models)


def _condition(route: Route) -> str:
    entry = route.entry
    if entry.headers:
        return "match.headers"
    return "pathPrefix" if entry.path_prefix.rstrip("/") else "models"
