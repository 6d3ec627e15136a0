"""The sections of a policy's entry, whatever sections the contract has."""

from collections.abc import Iterator
from typing import Any, Final

from tidegate_dataplane.snapshot.entries import PolicyEntry, Section

# In the entry, the rules of the authorization section stand by themselves; the others are called as in the API.
_FIELDS: Final = {
    Section.AUTHORIZATION: "rules",
    **{
        section: name
        for section in Section
        for name in PolicyEntry.__struct_fields__
        if name.replace("_", "") == section.value.lower()
    },
}


def sections_of(policy: PolicyEntry) -> Iterator[tuple[str, Any]]:
    """Name and value of every section that is present; lists of named rules or limits are tuples."""
    for section, field in _FIELDS.items():
        value = getattr(policy, field, None)
        if value is not None:
            yield section.value, value
