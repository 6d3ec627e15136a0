"""The identity of a list across its versions."""

from typing import NamedTuple

from tidegate_dataplane.snapshot.entries import ListKind, ListPart, ListRef


class ListKey(NamedTuple):
    """The ConfigMap or Secret that holds a list, and what it is read as."""

    namespace: str
    name: str
    secret: bool
    kind: ListKind

    def __str__(self) -> str:
        """E.g. `ConfigMap team-a/feed`."""
        return f"{'Secret' if self.secret else 'ConfigMap'} {self.namespace}/{self.name}"


def list_key(policy_namespace: str, ref: ListRef) -> ListKey:
    """The list that a policy of `policy_namespace` means: policies read lists of their own namespace alone."""
    return ListKey(policy_namespace, ref.name, ref.secret, ref.kind)


def key_of(part: ListPart) -> ListKey:
    """The list that a part belongs to."""
    return ListKey(part.namespace, part.name, part.secret, part.kind)
