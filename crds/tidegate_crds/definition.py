"""The CustomResourceDefinitions: names, printer columns and the schemas of the models. Pure."""

from dataclasses import dataclass
from functools import cache

from tidegate_crds.schema import Schema, structural_schema, with_safe_defaults
from tidegate_crds.v1alpha1 import GROUP, KINDS, VERSION


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`. `wide` ones are shown only with `-o wide`."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """How users call a kind."""

    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"


_READY = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether every data plane serves it as declared."),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
)
_AGE = (
    Column("Served", ".status.servedGeneration", "The generation in force.", type="integer", wide=True),
    Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What to do about it.", wide=True),
    Column("Age", ".metadata.creationTimestamp", "Time since it was created.", type="date"),
)


def _columns(*own: Column) -> tuple[Column, ...]:
    return (*_READY, *own, *_AGE)


_TARGET = Column("Target", ".spec.targetRefs[0].kind", "What the first target is.")
_TARGET_NAME = Column("Target-Name", ".spec.targetRefs[0].name", "Name of the first target.", wide=True)

_APPROVED = '.status.conditions[?(@.type=="Approved")].status'

NAMES: dict[str, Names] = {
    "AIApproval": Names(
        "aiapprovals",
        "aiap",
        _columns(
            Column("Namespace-Of", ".spec.subscription.namespace", "Namespace of the subscription."),
            Column("Subscription", ".spec.subscription.name", "The subscription that is approved."),
            Column("Request", ".spec.request.id", "The held-back call that may pass.", wide=True),
            Column("Plan", ".spec.subscription.plan", "The plan that is granted."),
            Column("Expires", ".spec.notAfter", "When it ends."),
            Column("Revoked", ".spec.revoked", "Whether it grants nothing any more.", type="boolean"),
        ),
    ),
    "AIBackend": Names(
        "aibackends",
        "aibe",
        _columns(
            Column("Provider", ".spec.provider", "The dialect it speaks."),
            Column("Endpoint", ".spec.endpoint", "Its base URL.", wide=True),
        ),
    ),
    "AIConsumer": Names(
        "aiconsumers",
        "aic",
        _columns(
            Column("Type", ".spec.type", "User, Application or Service."),
            Column("Team", ".spec.team", "The team it belongs to."),
            Column("Tier", ".spec.tier", "The tier its quotas follow."),
            Column("Suspended", ".spec.suspended", "Whether it is refused.", type="boolean", wide=True),
            Column("Last-Used", ".status.lastUsedTime", "When any of its keys was last used.", type="date", wide=True),
        ),
    ),
    "AIPolicy": Names(
        "aipolicies",
        "aip",
        _columns(
            Column("Mode", ".spec.mode", "Enforce or Shadow."),
            Column("Strength", ".spec.strength", "Required or Default."),
            _TARGET,
            _TARGET_NAME,
        ),
    ),
    "AIRoute": Names(
        "airoutes",
        "air",
        _columns(
            Column("Models", ".spec.models", "The names callers ask for."),
            Column("Path", ".spec.pathPrefix", "Path before the operation's own."),
            Column("Hostnames", ".spec.hostnames", "Host names answered for.", wide=True),
        ),
    ),
    "AISubscription": Names(
        "aisubscriptions",
        "aisub",
        _columns(
            Column("Consumer", ".spec.consumerRef.name", "Who wants access."),
            Column("Route", ".spec.routeRef.name", "To which route."),
            Column("Route-Namespace", ".spec.routeRef.namespace", "Namespace of the route.", wide=True),
            Column("Plan", ".spec.plan", "Under which plan."),
            Column("Approved", _APPROVED, "Whether access is granted."),
            Column("Expires", ".status.expires", "When access ends."),
        ),
    ),
    "Quota": Names(
        "quotas",
        "aiq",
        _columns(
            Column("Accuracy", ".spec.accuracy", "Where it is counted: Local, Exact or Leased."),
            Column("Used", ".status.used", "What is used of the fullest counter."),
            Column("Limit", ".status.limit", "The amount of the fullest counter."),
            Column("Percent", ".status.percent", "Used of limit, in percent.", type="integer"),
            Column("Resets", ".status.resets", "When the window of the fullest counter ends."),
            Column("Per", ".spec.per", "Whose use shares one counter."),
            Column("Fullest", ".status.fullest", "Which counter is the fullest.", wide=True),
            Column("Counters", ".status.counters", "How many counters are in use.", type="integer", wide=True),
            Column("Store", ".status.store", "Whether the shared store can be reached.", wide=True),
            Column("Target", ".spec.targetRefs[0].kind", "What the first target is.", wide=True),
            _TARGET_NAME,
        ),
    ),
}


@cache
def open_api_schema(kind: str) -> Schema:
    """The `openAPIV3Schema` of a kind, as the API server gets it. Callers must not change it."""
    return with_safe_defaults(documented_schema(kind))


@cache
def documented_schema(kind: str) -> Schema:
    """The schema of a kind with every default, those of list items too. Callers must not change it."""
    model = structural_schema(KINDS[kind])
    type_meta: Schema = {
        "apiVersion": {
            "description": f"Version of the schema of this object: {GROUP}/{VERSION}.",
            "type": "string",
        },
        "kind": {"description": f"The kind of this object: {kind}.", "type": "string"},
        "metadata": {"type": "object"},
    }
    return {
        "description": model["description"],
        "type": "object",
        "required": model["required"],
        "properties": {**type_meta, **model["properties"], "status": _unseen(model["properties"]["status"])},
    }


def _unseen(status: Schema) -> Schema:
    """A status that is there from the first moment, with its defaults.

    Without `observedGeneration: 0` kstatus would call an object current that the operator has not seen yet.
    """
    first: Schema = {name: status[name] for name in ("description", "type") if name in status}
    return {**first, "default": {}, **status}


def custom_resource_definition(kind: str) -> Schema:
    """The CRD of a kind, ready to be applied."""
    names = NAMES[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": names.crd_name},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": names.plural,
                "singular": kind.lower(),
                "shortNames": [names.short],
                "categories": ["tidegate"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_printer_column(column) for column in names.columns],
                    "schema": {"openAPIV3Schema": open_api_schema(kind)},
                }
            ],
        },
    }


def _printer_column(column: Column) -> Schema:
    priority = {"priority": 1} if column.wide else {}
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
        **priority,
    }
