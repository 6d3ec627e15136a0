"""What people may wish, and what becomes of a typing error."""

from __future__ import annotations

import pytest

from tidegate_operator.release.hold import Freeze, Hold, Rollback, read_hold, written


def test_both_parts_are_read() -> None:
    hold = read_hold(
        {"rollback": "revision: 41\nreason: yes\n", "freeze": "reason: Black Friday\nuntil: 2026-11-28T00:00:00Z\n"}
    )
    assert hold.rollback == Rollback(41, "yes")
    assert hold.freeze is not None
    assert hold.freeze.reason == "Black Friday"
    assert hold.freeze.holds(1795823999)
    assert not hold.freeze.holds(1795824000)
    assert hold.faults == ()


def test_without_the_config_map_nothing_is_held() -> None:
    former = Hold(Rollback(3), Freeze())
    assert read_hold(None, former) == Hold()
    assert read_hold({}, former) == Hold()


@pytest.mark.parametrize(
    "text",
    ["revision: latest", "revision: -1", "revision: 0", "41", "revision: 41\nrevison: 42", "{", "revision: [41]",
     "revision: 41\nreason: |\n  two\n  lines", "revision: 41\nreason: " + "x" * 5000, "- &a [*a]"],
)  # fmt: skip
def test_a_typing_error_is_told_and_changes_nothing(text: str) -> None:
    former = Hold(Rollback(3, "earlier"), None)
    hold = read_hold({"rollback": text, "freeze": "reason: x"}, former)
    assert hold.rollback == Rollback(3, "earlier")
    assert hold.freeze == Freeze("x")
    assert len(hold.faults) == 1
    assert hold.faults[0].startswith("rollback: ")


def test_an_unknown_key_is_told() -> None:
    assert read_hold({"frieze": "reason: x"}).faults == ("key 'frieze' is not known: it is rollback or freeze",)


def test_what_the_command_writes_is_read() -> None:
    wish = {"revision": 7, "reason": "no: really # not", "by": "jo", "at": "2026-03-01T10:00:00.000001Z"}
    assert read_hold({"rollback": written(wish)}).rollback == Rollback(
        7, *(str(wish[n]) for n in ("reason", "by", "at"))
    )
    assert read_hold({"freeze": written({"reason": "", "until": ""})}).freeze == Freeze()


def test_the_same_wish_again_is_another() -> None:
    assert Rollback(7, at="1").id != Rollback(7, at="2").id
