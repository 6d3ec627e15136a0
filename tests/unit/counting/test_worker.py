"""Counting in a process of its own: the same numbers, and never a call that waits for it in vain."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.waiting import until
from samples.texts import TEXTS
from tidegate_dataplane.counting import remote
from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.remote import Worker
from tidegate_dataplane.counting.tokenizer import count

TEXT = "".join(TEXTS.values())


@pytest.fixture
def worker() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.close()


def test_nothing_runs_before_the_first_text(worker: Worker) -> None:
    assert worker.pid is None
    worker.count("a", Encoding.O200K)
    assert worker.pid is not None


def test_it_counts_what_the_tokenizer_counts(worker: Worker) -> None:
    for text in [*TEXTS.values(), "", "a\ud83d\ude80b\ud800", TEXT * 200]:
        for encoding in Encoding:
            assert worker.count(text, encoding) == count(text, encoding)


def test_many_threads_get_their_own_answers(worker: Worker) -> None:
    wrong: list[int] = []

    def ask(length: int) -> None:
        for _ in range(20):
            if worker.count("word " * length, Encoding.O200K) != count("word " * length, Encoding.O200K):
                wrong.append(length)

    threads = [threading.Thread(target=ask, args=(10 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_a_lost_process_costs_a_moment_of_estimates(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE_SECONDS", 0.5)
    assert worker.count("Hello!", Encoding.O200K) == 2
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert worker.count("Hello!", Encoding.O200K) is None
    assert worker.count("Hello!", Encoding.O200K) is None  # not started again and again
    assert worker.pid is None
    await until(lambda: worker.count("Hello!", Encoding.O200K) == 2)
    assert worker.pid != first


@pytest.mark.parametrize("text", ["Hello!", "word " * 100_000])
def test_a_process_that_hangs_is_given_up(worker: Worker, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(remote, "_PATIENCE_SECONDS", 5.0)
    assert worker.count("Hello!", Encoding.O200K) == 2
    monkeypatch.setattr(remote, "_PATIENCE_SECONDS", 0.1)
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert worker.count(text, Encoding.O200K) is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_with_the_process_that_asked() -> None:
    """Also when that is killed."""
    script = (
        "import os, signal\n"
        "from tidegate_dataplane.counting.remote import WORKER\n"
        "from tidegate_dataplane.counting.encodings import Encoding\n"
        "assert WORKER.count('Hello!', Encoding.O200K) == 2\n"
        "print(WORKER.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert found.returncode == -signal.SIGKILL
    pid = int(found.stdout)
    deadline = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
