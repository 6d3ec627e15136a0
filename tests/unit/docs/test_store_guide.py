"""The guide to the shared store and its runbooks name the rights, flags, reasons and metrics that there are."""

import re
from pathlib import Path

from tidegate_dataplane.main import _parser
from tidegate_dataplane.store import connect
from tidegate_dataplane.store.protocol import Reason

DOCS = Path(__file__).resolve().parents[3] / "docs"
GUIDE = (DOCS / "how-to" / "shared-store.md").read_text()
AWAY = (DOCS / "runbooks" / "store-unavailable.md").read_text()
# Of these nobody needs a runbook.
OWN = {Reason.NONE, Reason.STARTING, Reason.CLOSED}


def test_the_rights_are_those_that_are_tried_on_a_real_server() -> None:
    (told,) = re.findall(r"^user tidegate (.*)$", GUIDE, re.MULTILINE)
    text = connect.__doc__ or ""
    tried = text[text.index("ACL SETUSER tidegate") : text.index("\n\n(+info")].split()[3:]
    assert [word for word in told.split() if not word.startswith(">")] == [
        word for word in tried if not word.startswith(">")
    ]


def test_the_servers_settings_are_lines_that_it_reads() -> None:
    """Redis takes no remark behind a value: it does not start."""
    section = GUIDE.split("## The server's settings\n")[1].split("\n## ")[0]
    lines = re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE)
    assert len(lines) == 2
    assert all(re.fullmatch(r"[a-z-]+ \w+", line) for line in lines)


def test_the_flags_are_those_of_the_data_plane() -> None:
    flags = {flag for action in _parser()._actions for flag in action.option_strings}
    named = set(re.findall(r"`?(--(?:store|journal|replicas)[a-z-]*)", GUIDE))
    assert named - {"--store-"} == {flag for flag in flags if re.match(r"--(store|journal|replicas)", flag)}


def test_each_reason_has_a_row() -> None:
    assert set(re.findall(r"\| `([a-z_]+)` \|", AWAY)) == {each.value for each in Reason if each not in OWN}
