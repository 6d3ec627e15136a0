"""The part of the ValidatingWebhookConfiguration that the operator keeps: whom to trust, and the path. Pure.

Everything else (rules, conditions, timeout, failure policy) is the chart's.
"""

import base64
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tidegate_operator.admission.certificates import Kept
from tidegate_operator.ingest import Meta
from tidegate_operator.kube import Resource

WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
)
PATH_PREFIX = "/admission/"


class Service(msgspec.Struct):
    """ServiceReference."""

    name: str
    namespace: str
    path: str = ""


class ClientConfig(msgspec.Struct):
    """WebhookClientConfig."""

    url: str | None = None
    service: Service | None = None
    ca_bundle: str = msgspec.field(name="caBundle", default="")


class Webhook(msgspec.Struct):
    """One webhook, as far as it is read."""

    name: str
    client: ClientConfig = msgspec.field(name="clientConfig")


class Configuration(msgspec.Struct):
    """A ValidatingWebhookConfiguration."""

    metadata: Meta
    webhooks: list[Webhook] = []


def path_of(token: str) -> str:
    """Where the webhook listens. The path is a secret: whoever knows it may ask what is wrong with any namespace."""
    return f"{PATH_PREFIX}{token}"


def pointed(found: Configuration, kept: Kept) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) that makes every webhook of the configuration trust and find us; empty when it does.

    It holds for the version that was read, and is refused when that is gone.
    """
    bundle, path = base64.b64encode(kept.trusted).decode(), path_of(kept.token)
    patch: list[dict[str, Any]] = []
    for number, webhook in enumerate(found.webhooks):
        root, client = f"/webhooks/{number}/clientConfig", webhook.client
        if client.ca_bundle != bundle:
            patch.append({"op": "add", "path": f"{root}/caBundle", "value": bundle})
        if client.service is not None and client.service.path != path:
            patch.append({"op": "add", "path": f"{root}/service/path", "value": path})
        if client.url is not None and urlsplit(client.url).path != path:
            patch.append(
                {"op": "add", "path": f"{root}/url", "value": urlsplit(client.url)._replace(path=path).geturl()}
            )
    if not patch:
        return []
    version = found.metadata.resource_version
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *patch]
