"""Every lint: its code, how severe it is, what it means, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How severe a finding is, from what is surely wrong to what is merely good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(StrEnum):
    """The names by which lints are suppressed and told apart."""

    ALLOWS_EVERYTHING = "AllowsEverything"
    BACKEND_OPEN_TO_ALL = "BackendOpenToAll"
    CONFLICTED_ROUTE = "ConflictedRoute"
    CONSUMER_WITHOUT_CREDENTIAL = "ConsumerWithoutCredential"
    CREDENTIAL_IN_SPEC = "CredentialInSpec"
    CREDENTIAL_UNENCRYPTED = "CredentialUnencrypted"
    DEFAULT_REPLACED = "DefaultReplaced"
    FAILOVER_NEVER_TRIED = "FailoverNeverTried"
    GRANT_ENDED = "GrantEnded"
    KEY_EXPIRED = "KeyExpired"
    KEY_EXPIRES_SOON = "KeyExpiresSoon"
    LIMIT_UNREACHABLE = "LimitUnreachable"
    METHOD_WITHOUT_PROVIDER = "MethodWithoutProvider"
    NOT_SERVED = "NotServed"
    OPEN_TO_ALL_NAMESPACES = "OpenToAllNamespaces"
    OPEN_TO_EVERYBODY = "OpenToEverybody"
    POLICY_WITHOUT_ROUTE = "PolicyWithoutRoute"
    QUOTA_WITHOUT_CONSUMER = "QuotaWithoutConsumer"
    QUOTA_WITHOUT_ROUTE = "QuotaWithoutRoute"
    REFERENCE_NOT_PERMITTED = "ReferenceNotPermitted"
    ROUTE_PARTLY_SHADOWED = "RoutePartlyShadowed"
    ROUTE_WITHOUT_AUTHENTICATION = "RouteWithoutAuthentication"
    ROUTE_WITHOUT_CALLER = "RouteWithoutCaller"
    RULE_ALWAYS_DENIED = "RuleAlwaysDenied"
    RULE_NEVER_MATCHES = "RuleNeverMatches"
    RULE_REDUNDANT = "RuleRedundant"
    SECRET_IN_FILES = "SecretInFiles"  # noqa: S105 - the name of a lint, not a password
    SUBSCRIPTION_ENDED = "SubscriptionEnded"
    TARGET_WITHOUT_TRAFFIC = "TargetWithoutTraffic"
    UNKNOWN_CODE = "UnknownCode"
    UNLIMITED_CONSUMER = "UnlimitedConsumer"
    UNUSED_BACKEND = "UnusedBackend"
    UNUSED_CONSUMER = "UnusedConsumer"


@dataclass(frozen=True, slots=True)
class Lint:
    """What a code stands for. `remedy` is a sentence that begins with a verb."""

    level: Level
    meaning: str
    remedy: str


LINTS: dict[Code, Lint] = {
    Code.ALLOWS_EVERYTHING: Lint(
        Level.WARNING,
        'An Allow rule has no condition, or only `when: "true"`, so the policy\'s Allow rules let every call pass.',
        "Name roles, models or operations in the rule, or remove the Allow rules if no limit is meant.",
    ),
    Code.BACKEND_OPEN_TO_ALL: Lint(
        Level.INFO,
        "An AIBackend may be used by routes of every namespace, and so anybody's route spends its credential.",
        "Name the namespaces in spec.allowedNamespaces.",
    ),
    Code.CONFLICTED_ROUTE: Lint(
        Level.ERROR,
        "An older route answers all that this route claims, in the same words, so this one is not served.",
        "Change models, operations, hostnames, pathPrefix or match.headers, or remove one of the two.",
    ),
    Code.CONSUMER_WITHOUT_CREDENTIAL: Lint(
        Level.WARNING,
        "An AIConsumer that is not suspended has no credential that still works, so it can never call.",
        "Add a key, a token match or a certificate under spec.credentials, or remove the consumer.",
    ),
    Code.CREDENTIAL_IN_SPEC: Lint(
        Level.ERROR,
        "A field of a spec holds what looks like a key, a token or a private key: everyone who reads Git has it.",
        "Revoke it, put a new one into a Secret, and refer to that.",
    ),
    Code.CREDENTIAL_UNENCRYPTED: Lint(
        Level.WARNING,
        "An AIBackend sends its credential over plain http to another machine.",
        "Use an https endpoint, or remove the credential.",
    ),
    Code.DEFAULT_REPLACED: Lint(
        Level.WARNING,
        "A section of an AIPolicy with strength: Default is replaced by narrower policies on every route it reaches.",
        "Remove the section, or use strength: Required if it should hold.",
    ),
    Code.FAILOVER_NEVER_TRIED: Lint(
        Level.WARNING,
        "A route has targets of a later priority and yet retries nothing, so they are never tried.",
        "Set spec.retry.attempts to at least 1 and name conditions, or remove the later priorities.",
    ),
    Code.GRANT_ENDED: Lint(
        Level.INFO,
        "A grant of a Quota, or an AIApproval, has ended and adds nothing any more.",
        "Remove it, unless it stays for the records.",
    ),
    Code.KEY_EXPIRED: Lint(
        Level.WARNING,
        "An API key is past its notAfter; calls with it are refused.",
        "Remove the key, or give the consumer a new one.",
    ),
    Code.KEY_EXPIRES_SOON: Lint(
        Level.WARNING,
        "An API key reaches its notAfter within the time that --within says.",
        "Give the consumer a new key beside it, and remove the old one once it is unused.",
    ),
    Code.LIMIT_UNREACHABLE: Lint(
        Level.WARNING,
        "A limit of a Quota is never the one that refuses: another limit of the same Quota is always used up first.",
        "Remove the limit, or lower its amount.",
    ),
    Code.METHOD_WITHOUT_PROVIDER: Lint(
        Level.WARNING,
        "A policy accepts tokens on a route on which no attached policy names a provider for them: none is ever taken.",
        "Name a provider under spec.authentication.jwt or .introspection, or drop the method.",
    ),
    Code.NOT_SERVED: Lint(
        Level.ERROR,
        "An object is not valid and not served as written; what is said of the others counts without it.",
        "Correct what `tidegate validate` says of it.",
    ),
    Code.OPEN_TO_ALL_NAMESPACES: Lint(
        Level.WARNING,
        "A route admits consumers of every namespace, and no Allow rule or subscription says which of them.",
        "Name the namespaces in spec.allowedNamespaces, or attach a policy with Allow rules.",
    ),
    Code.OPEN_TO_EVERYBODY: Lint(
        Level.WARNING,
        "Callers without any credential are let in on a route, because all its policies accept Anonymous.",
        "Remove Anonymous from spec.authentication.methods of at least one attached policy, unless it is meant.",
    ),
    Code.POLICY_WITHOUT_ROUTE: Lint(
        Level.WARNING,
        "An AIPolicy is attached to nothing that is served: no route of its targets is there.",
        "Correct spec.targetRefs, or remove the policy.",
    ),
    Code.QUOTA_WITHOUT_CONSUMER: Lint(
        Level.WARNING,
        "A Quota is for tiers or teams that no consumer has who could call its routes: it never counts.",
        "Correct spec.consumers, or remove the Quota.",
    ),
    Code.QUOTA_WITHOUT_ROUTE: Lint(
        Level.WARNING,
        "A Quota is attached to nothing that is served, and is no parent of one that is.",
        "Correct spec.targetRefs, or remove the Quota.",
    ),
    Code.REFERENCE_NOT_PERMITTED: Lint(
        Level.ERROR,
        "An object refers to an object of another namespace that does not allow it.",
        "Add the namespace to spec.allowedNamespaces over there, or refer to something else.",
    ),
    Code.ROUTE_PARTLY_SHADOWED: Lint(
        Level.INFO,
        "Calls that meet a condition of this route (a header, a longer path, an exact model) go to another "
        "route, which comes first for its host name, path or model.",
        "Claim the same host name, path and model in this route, if it should take these calls.",
    ),
    Code.ROUTE_WITHOUT_AUTHENTICATION: Lint(
        Level.WARNING,
        "No attached and enforced policy says how callers prove who they are, so every call is answered 401.",
        "Attach an AIPolicy with an authentication section.",
    ),
    Code.ROUTE_WITHOUT_CALLER: Lint(
        Level.INFO,
        "No consumer of these files can pass the policies of a route.",
        "Check methods, roles, allowedNamespaces and subscriptions, or remove the route.",
    ),
    Code.RULE_ALWAYS_DENIED: Lint(
        Level.WARNING,
        "A Deny rule covers all that an Allow rule allows, on every route, so the Allow rule lets nobody in.",
        "Remove one of the two rules, or narrow the Deny rule.",
    ),
    Code.RULE_NEVER_MATCHES: Lint(
        Level.WARNING,
        "A rule names roles, models, operations or versions that no call on its routes can have.",
        "Correct the rule, or remove it.",
    ),
    Code.RULE_REDUNDANT: Lint(
        Level.INFO,
        "Another rule of the same policy and effect matches whenever this one does: it changes nothing.",
        "Remove one of the two rules.",
    ),
    Code.SECRET_IN_FILES: Lint(
        Level.INFO,
        "A Secret stands among the files with its values: everyone who reads Git has them.",
        "Keep Secrets out of Git (External Secrets, Sealed Secrets), or seal them before they are committed.",
    ),
    Code.SUBSCRIPTION_ENDED: Lint(
        Level.INFO,
        "An AISubscription has reached its end.",
        "Set a later notAfter, or remove it.",
    ),
    Code.TARGET_WITHOUT_TRAFFIC: Lint(
        Level.INFO,
        "A target has weight 0 and takes no calls, not even when all others fail.",
        "Give it a weight, or a later priority, or remove it.",
    ),
    Code.UNKNOWN_CODE: Lint(
        Level.WARNING,
        "An annotation tidegate.dev/lint-ignore names a code that there is not.",
        "Correct the code; docs/reference/lint.md lists all.",
    ),
    Code.UNLIMITED_CONSUMER: Lint(
        Level.INFO,
        "No Quota counts what a consumer uses on any route that it can call.",
        "Attach a Quota to the routes, their namespace or the gateway.",
    ),
    Code.UNUSED_BACKEND: Lint(
        Level.WARNING,
        "No AIRoute refers to an AIBackend.",
        "Remove it, or refer to it.",
    ),
    Code.UNUSED_CONSUMER: Lint(
        Level.WARNING,
        "A consumer has credentials, and there is no route on which they could let it in.",
        "Check methods, roles and allowedNamespaces of the routes, or remove the consumer.",
    ),
}
