"""A watch that is silent although the Lease moved on is dead."""

from tidegate_operator.watchdog import Watchdog


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_echo_in_time_keeps_it_alive() -> None:
    clock = _Clock()
    watchdog = Watchdog(clock, limit=60)
    for version in range(1, 100):
        watchdog.expect(version)
        clock.now += 30
        assert watchdog.alive
        watchdog.echo(version)
        assert watchdog.age == 0


def test_a_missing_echo_is_noticed_from_the_first_write_on() -> None:
    clock = _Clock()
    watchdog = Watchdog(clock, limit=60)
    for version in range(1, 100):
        watchdog.expect(version)
        clock.now += 1
    assert not watchdog.alive
    assert watchdog.age == 99


def test_an_echo_that_comes_before_the_answer_counts() -> None:
    clock = _Clock()
    watchdog = Watchdog(clock, limit=60)
    watchdog.echo(7)
    watchdog.expect(7)
    clock.now = 1000
    assert watchdog.alive


def test_silence_while_nothing_is_written_is_no_fault() -> None:
    clock = _Clock()
    watchdog = Watchdog(clock, limit=60)
    watchdog.expect(1)
    watchdog.echo(1)
    clock.now = 10_000
    assert watchdog.alive
