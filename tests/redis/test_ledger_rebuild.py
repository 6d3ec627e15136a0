"""What happens when the store lost what it knew, or knows only what was: nothing is granted until planes declared."""

from __future__ import annotations

from store_parts.model import Counter, Plane
from store_parts.script import ScriptServer
from tidegate_dataplane.store.encoding import MUST_DECLARE
from tidegate_dataplane.store.protocol import Kind, Status

DAILY = Counter(b"d" * 16, Kind.WINDOW, limit=100, width=86_400_000)
SLIDING = Counter(b"s" * 16, Kind.SLIDING, limit=100, width=1_000, slots=60)


def planes(script: ScriptServer, count: int) -> list[Plane]:
    """Planes that know each other and are granted what fits."""
    made = [Plane(script, f"plane{index}") for index in range(count)]
    for plane in made:
        plane.declare()
    script.now_ms += 3_000
    for plane in made:
        plane.exchange([])
    for plane in made:
        plane.exchange([])
        assert plane.known == {each.owner for each in made}
    return made


def restart(script: ScriptServer, made: list[Plane], *, data: dict[bytes, tuple[bytes, int]]) -> None:
    """Another process, with this data."""
    script.restore(data)
    script.run += "+"
    for plane in made:
        plane.fresh = True


def must_declare(plane: Plane) -> bool:
    return plane.server.exchange(plane.header(), []).code == MUST_DECLARE


def fits(plane: Plane, amount: int, counter: Counter = DAILY) -> Status:
    result = plane.reserve(counter, amount)
    assert result is not None
    return Status(result.status)


def test_a_lost_store_grants_again_when_all_have_declared(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    assert fits(one, 30) == Status.OK
    assert fits(two, 40) == Status.OK
    restart(script, [one, two], data={})

    assert must_declare(one)
    assert one.declare()
    assert fits(one, 1) == Status.REBUILDING
    script.now_ms += 2_000
    assert fits(one, 1) == Status.REBUILDING, "granted while a plane is missing"
    assert two.declare()
    assert fits(one, 31) == Status.REFUSED
    assert fits(one, 30) == Status.OK
    assert fits(two, 1) == Status.REFUSED


def test_what_planes_saw_of_a_missing_one_stands_for_it(script: ScriptServer) -> None:
    one, gone = planes(script, 2)
    assert fits(gone, 40) == Status.OK
    assert fits(one, 30) == Status.OK  # and sees that 70 are granted
    restart(script, [one, gone], data={})
    assert one.declare()
    script.now_ms += 10_000
    assert fits(one, 31) == Status.REFUSED
    assert fits(one, 20) == Status.OK

    # It comes back late: its own figures take the place of what stood for it.
    gone.settle(DAILY, 25)
    assert gone.declare()
    result = gone.reserve(DAILY, 1)
    assert result is not None
    assert (result.status, result.total, result.used) == (Status.OK, 30 + 20 + 40 + 1, 25)


def test_a_late_plane_that_nobody_saw_is_believed_and_its_spare_is_gone(script: ScriptServer) -> None:
    one, late = planes(script, 2)
    assert fits(late, 40) == Status.OK
    late.reserve(DAILY, 1, want=100)
    (book,) = late.books.values()
    assert book.spare > 0
    restart(script, [one, late], data={})
    one.books.clear()
    assert one.declare()
    script.now_ms += 10_000
    assert fits(one, 90) == Status.OK
    assert late.declare()
    assert book.spare == 0
    assert fits(one, 1) == Status.REFUSED


def test_spare_is_kept_over_a_rebuild(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    one.reserve(DAILY, 10, want=100)
    (book,) = one.books.values()
    spare = book.spare
    assert spare > 0
    restart(script, [one, two], data={})
    assert one.declare()
    assert two.declare()
    script.now_ms += 1_000
    assert book.spare == spare
    assert fits(two, 100 - 10 - spare + 1) == Status.REFUSED
    assert fits(two, 100 - 10 - spare) == Status.OK


def test_a_plane_that_remembers_nobody_makes_the_store_wait_longer(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    assert fits(two, 40) == Status.OK
    restart(script, [one, two], data={})
    one.known = None
    assert one.declare()
    script.now_ms += 9_000
    assert fits(one, 1) == Status.REBUILDING
    assert two.declare()
    assert fits(one, 61) == Status.REFUSED
    assert fits(one, 60) == Status.OK


def test_old_data_of_a_new_process_is_not_trusted(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    assert fits(one, 10) == Status.OK
    old = script.snapshot()
    assert fits(two, 90) == Status.OK
    restart(script, [one, two], data=old)
    assert must_declare(one)
    assert one.declare()
    assert fits(one, 1) == Status.REBUILDING, "the other one's 90 are not in this data"
    assert two.declare()
    assert fits(one, 1) == Status.REFUSED


def test_data_that_went_back_under_the_same_process_is_found_by_who_lost(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    old = script.snapshot()
    assert fits(two, 90) == Status.OK
    script.restore(old)
    assert must_declare(two)
    assert two.declare()
    assert must_declare(one)
    assert one.declare()
    assert fits(one, 11) == Status.REFUSED


def test_what_an_owner_no_longer_has_goes_once_it_declared(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    assert fits(one, 60) == Status.OK
    assert fits(one, 60, SLIDING) == Status.OK
    old = script.snapshot()
    for counter in (DAILY, SLIDING):
        one.settle(counter, 0)
    one.exchange([])
    restart(script, [one, two], data=old)
    one.books.clear()
    assert two.declare()
    assert one.declare()
    assert fits(two, 100) == Status.OK
    assert fits(two, 100, SLIDING) == Status.OK


def test_old_slots_of_a_sliding_window_come_back(script: ScriptServer) -> None:
    one, two = planes(script, 2)
    assert fits(one, 30, SLIDING) == Status.OK
    script.now_ms += 5_000
    one.slots.clear()
    assert fits(one, 30, SLIDING) == Status.OK
    restart(script, [one, two], data={})
    assert one.declare()
    assert two.declare()
    script.now_ms += 1_000
    assert fits(two, 41, SLIDING) == Status.REFUSED
    assert fits(two, 40, SLIDING) == Status.OK
    script.now_ms += 56_000
    two.slots.clear()
    assert fits(two, 30, SLIDING) == Status.OK
    assert fits(two, 1, SLIDING) == Status.REFUSED


def test_a_declaration_under_way_when_the_store_is_lost_again_begins_anew(script: ScriptServer) -> None:
    (one,) = planes(script, 1)
    assert fits(one, 60) == Status.OK
    restart(script, [one], data={})
    begun = script.declare(one.header(), [], begin=True, final=False, known=[])
    one.learn(begun.epoch, begun.version, begun.members)
    restart(script, [one], data={})
    assert script.declare(one.header(), [], begin=False, final=True, known=[]).code == MUST_DECLARE
    assert must_declare(one)


def test_who_has_much_to_declare_is_waited_for_but_not_for_ever(script: ScriptServer) -> None:
    one, slow = planes(script, 2)
    restart(script, [one, slow], data={})
    assert one.declare()
    for call in range(60):
        reply = script.declare(slow.header(), [], begin=call == 0, final=False, known=sorted(slow.known or ()))
        slow.learn(reply.epoch, reply.version, reply.members)
        script.now_ms += 2_500
        assert fits(one, 1) == (Status.REBUILDING if call * 2_500 < 117_000 else Status.OK)
