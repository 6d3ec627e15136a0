"""What an object's status says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate_operator.conditions import (
    NO_STATUS,
    Condition,
    ObjectStatus,
    PlaneReport,
    judge,
    parse_status,
    programmed_since,
    status_body,
)
from tidegate_operator.verdicts import Finding, Reason, Verdict
from tidegate_operator.world import Kind, ObjectKey

KEY = ObjectKey(Kind.ROUTE, "team", "chat")
GOOD = Verdict(KEY, generation=3, served_generation=3)
THEN = datetime(2026, 3, 1, 12, 0, 0, 900_000, tzinfo=UTC)
LATER = THEN + timedelta(hours=1)
RUNS_7 = PlaneReport("a:9090", ready=True, revision=7)
RUNS_6 = PlaneReport("b:9090", ready=True, revision=6)


def _judge(
    verdict: Verdict,
    *planes: PlaneReport,
    first: int | None = 7,
    previous: ObjectStatus = NO_STATUS,
    now: datetime = THEN,
) -> ObjectStatus:
    return judge(verdict, first_revision=first, planes=planes, previous=previous, now=now)


def _condition(status: ObjectStatus, kind: str) -> Condition:
    condition = status.condition(kind)
    assert condition is not None
    return condition


def _short(status: ObjectStatus, kind: str) -> tuple[str, str, str]:
    condition = _condition(status, kind)
    return condition.status, condition.reason, condition.message


def test_everything_is_true_when_every_ready_data_plane_runs_it() -> None:
    status = _judge(GOOD, RUNS_7, replace(RUNS_7, name="c:9090", revision=9))
    assert [(c.type, c.status) for c in status.conditions] == [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
        ("Programmed", "True"),
        ("Ready", "True"),
    ]
    assert _condition(status, "Programmed").message == "revision 7 on 2/2"
    assert (status.observed_generation, status.served_generation) == (3, 3)
    assert {c.transition for c in status.conditions} == {"2026-03-01T12:00:00Z"}


def test_a_data_plane_that_is_behind_is_named() -> None:
    status = _judge(GOOD, RUNS_7, RUNS_6)
    assert _short(status, "Programmed") == ("False", "Pending", "revision 7 on 1/2: waiting for b:9090")
    assert _short(status, "Ready") == ("False", "Pending", "revision 7 on 1/2: waiting for b:9090")


def test_a_data_plane_that_is_not_ready_is_not_waited_for() -> None:
    status = _judge(GOOD, RUNS_7, replace(RUNS_6, ready=False))
    assert _short(status, "Programmed") == ("True", "Programmed", "revision 7 on 1/1")


def test_a_refusal_speaks_with_the_data_planes_words() -> None:
    status = _judge(GOOD, RUNS_7, replace(RUNS_6, refusal="TooLarge: shard 03 has 9 bytes"))
    assert _short(status, "Programmed") == (
        "False",
        "DataPlaneRefused",
        "revision 7 on 1/2; b:9090 runs revision 6: TooLarge: shard 03 has 9 bytes",
    )


def test_without_data_planes_it_is_unknown() -> None:
    assert _short(_judge(GOOD), "Programmed")[:2] == ("Unknown", "NoDataPlane")
    assert _short(_judge(GOOD, replace(RUNS_7, ready=False)), "Ready")[:2] == ("Unknown", "NoDataPlane")


def test_before_the_first_publication_it_is_pending() -> None:
    assert _short(_judge(GOOD, RUNS_7, first=None), "Programmed") == ("False", "Pending", "Waiting to be published.")


def test_an_invalid_generation_says_which_one_is_in_force() -> None:
    finding = Finding(Reason.INVALID, "spec.rules[0].when", "is no CEL")
    status = _judge(Verdict(KEY, generation=4, served_generation=3, errors=(finding,)), RUNS_7)
    assert _short(status, "Accepted") == (
        "False",
        "Invalid",
        "spec.rules[0].when: is no CEL; generation 3 stays in force",
    )
    assert _short(status, "Programmed")[:2] == ("False", "NotAccepted")
    assert _short(status, "Ready")[1] == "Invalid"
    assert (status.observed_generation, status.served_generation) == (4, 3)


def test_what_was_never_valid_is_not_served() -> None:
    finding = Finding(Reason.INVALID, "spec", "is wrong")
    status = _judge(Verdict(KEY, generation=1, served_generation=None, errors=(finding,)), RUNS_7, first=None)
    assert _short(status, "Programmed")[:2] == ("False", "NotServed")
    assert status.served_generation is None
    assert "servedGeneration" not in status_body(status)


def test_what_is_valid_and_perhaps_not_meant_is_said_and_holds_nothing_up() -> None:
    note = Finding(Reason.NO_SHARE, "spec.share", "this cluster has none of it")
    status = _judge(replace(GOOD, notes=(note,)), RUNS_7)
    assert _short(status, "Accepted") == (
        "True",
        "Accepted",
        "The object is valid. Note: spec.share: this cluster has none of it",
    )
    assert _condition(status, "Ready").status == "True"


def test_an_unresolved_reference_is_not_ready_though_it_is_programmed() -> None:
    finding = Finding(Reason.BACKEND_NOT_FOUND, "spec.targets[1].backendRef", "there is no such backend")
    status = _judge(replace(GOOD, unresolved=(finding,)), RUNS_7)
    assert _short(status, "Programmed")[0] == "True"
    expected = ("False", "BackendNotFound", "spec.targets[1].backendRef: there is no such backend")
    assert _short(status, "ResolvedRefs") == expected
    assert _short(status, "Ready") == expected


def test_an_object_for_other_clusters_is_healthy_here() -> None:
    status = _judge(replace(GOOD, placed=False), RUNS_7, first=None)
    assert _short(status, "Programmed")[:2] == ("False", "NotPlaced")
    assert _short(status, "Ready")[:2] == ("True", "NotPlaced")
    assert status.served_generation is None


def test_a_later_look_changes_nothing_while_it_stays_true() -> None:
    first = _judge(GOOD, RUNS_7, now=THEN)
    # More data planes, a later revision, another first revision after a restart of the operator.
    again = _judge(
        GOOD,
        replace(RUNS_7, revision=12),
        replace(RUNS_6, revision=12),
        first=12,
        previous=first,
        now=LATER,
    )
    assert again == first


def test_a_new_generation_is_named_with_its_own_revision() -> None:
    first = _judge(GOOD, RUNS_7)
    again = _judge(
        Verdict(KEY, generation=4, served_generation=4),
        replace(RUNS_7, revision=9),
        first=9,
        previous=first,
        now=LATER,
    )
    assert _condition(again, "Programmed").message == "revision 9 on 1/1"
    # It was True and is True: that is no transition.
    assert _condition(again, "Programmed").transition == "2026-03-01T12:00:00Z"
    assert _condition(again, "Programmed").generation == 4


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    first = _judge(GOOD, RUNS_7)
    lost = _judge(GOOD, RUNS_6, previous=first, now=LATER)
    assert _condition(lost, "Programmed").transition == "2026-03-01T13:00:00Z"
    assert _condition(lost, "Accepted").transition == "2026-03-01T12:00:00Z"
    other_words = _judge(GOOD, replace(RUNS_6, refusal="no"), previous=lost, now=LATER + timedelta(hours=1))
    assert _condition(other_words, "Programmed").reason == "DataPlaneRefused"
    assert _condition(other_words, "Programmed").transition == "2026-03-01T13:00:00Z"


def test_a_status_survives_the_api_server() -> None:
    status = _judge(GOOD, RUNS_7, RUNS_6)
    assert parse_status(status_body(status)) == status


def test_what_others_wrote_into_a_status_is_no_trouble() -> None:
    foreign = {"type": "Elsewhere", "status": "True"}
    cases: list[Any] = [None, [], {"conditions": "none"}, {"conditions": [1, foreign], "observedGeneration": "x"}]
    assert [parse_status(raw) for raw in cases] == [NO_STATUS] * len(cases)


def test_an_earlier_operator_tells_since_when_a_generation_is_programmed() -> None:
    status = _judge(GOOD, RUNS_7)
    assert programmed_since(status, 3) == 7
    assert programmed_since(status, 2) is None
    assert programmed_since(_judge(GOOD, RUNS_6), 3) is None
    assert programmed_since(NO_STATUS, 3) is None


def test_what_somebody_must_act_upon_is_stalled() -> None:
    """kstatus, and so Flux, takes `Ready=False` alone for 'not yet' and waits."""
    refused = replace(GOOD, served_generation=2, errors=(Finding(Reason.INVALID, "spec.x", "is wrong"),))
    stalled = ("True", "Invalid", "spec.x: is wrong; generation 2 stays in force")
    assert _short(_judge(refused, RUNS_7), "Stalled") == stalled
    held = _judge(GOOD, RUNS_7, replace(RUNS_6, refusal="TooLarge: shard 03 has 9 bytes"))
    assert _short(held, "Stalled")[:2] == ("True", "DataPlaneRefused")
    later = _judge(GOOD, RUNS_7, replace(RUNS_6, refusal="TooLarge: shard 04 has 8 bytes"), previous=held)
    assert "shard 04 has 8 bytes" in _condition(later, "Stalled").message


def test_what_comes_by_itself_is_not_stalled() -> None:
    missing = replace(GOOD, unresolved=(Finding(Reason.BACKEND_NOT_FOUND, "spec.targets[0]", "is not there"),))
    for status in (_judge(GOOD, RUNS_7), _judge(GOOD, RUNS_6), _judge(GOOD), _judge(missing, RUNS_7)):
        assert status.condition("Stalled") is None
