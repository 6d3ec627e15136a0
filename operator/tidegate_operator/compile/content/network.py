"""The network section of an AIPolicy."""

from collections.abc import Sequence
from ipaddress import ip_network

from tidegate_crds.v1alpha1.network import Network
from tidegate_dataplane.snapshot.entries import ListKind, NetworkEntry
from tidegate_operator.compile.content.lists import list_refs
from tidegate_operator.compile.problems import Problems


def network_content(network: Network, problems: Problems) -> NetworkEntry:
    """Lower a valid section; notes networks that cannot be read."""
    return NetworkEntry(
        allow=_networks(network.allow, "spec.network.allow", problems),
        deny=_networks(network.deny, "spec.network.deny", problems),
        deny_lists=list_refs(network.deny_lists, ListKind.ADDRESSES),
    )


def _networks(texts: Sequence[str] | None, field: str, problems: Problems) -> tuple[str, ...]:
    found = set()
    for position, text in enumerate(texts or ()):
        try:
            found.add(str(ip_network(text)))
        except ValueError:
            problems.add(f"{field}[{position}]", _advice(text))
    return tuple(sorted(found))


def _advice(text: str) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return "must be an address or a network, such as 10.0.0.0/8 or 2001:db8::/32"
    return f"has bits set beyond its prefix length: write {meant}, or a single address without a prefix"
