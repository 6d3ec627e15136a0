"""`tidegate serve` as a new user meets it: the quickstart answers, edits take effect, broken ones change nothing."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

ROOT = Path(__file__).resolve().parents[3]
KEY = "demo-key-for-the-quickstart"
DEADLINE = 30.0


class Serving:
    """A running `tidegate serve` over a copy of the quickstart."""

    def __init__(self, folder: Path, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.process = process
        self._log = log
        self.url = self.wait_for(r"serving (http://127\.0\.0\.1:\d+)")[1]

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Wait until the terminal shows the pattern."""
        found: list[re.Match[str]] = []

        def shown() -> bool:
            match = re.search(pattern, self.output)
            found.extend([match] if match else [])
            return match is not None or self.process.poll() is not None

        wait_until(shown, f"{pattern!r} in the output")
        assert found, f"ended before it showed {pattern!r}:\n{self.output}"
        return found[0]

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def models(self) -> set[str]:
        with self.client() as client:
            return {model.id for model in client.models.list()}


def wait_until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
        time.sleep(0.05)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples" / "quickstart", folder)
    log = tmp_path / "output"
    command = [str(Path(sys.executable).with_name("tidegate")), "serve", str(folder)]
    command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield Serving(folder, log, process)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def test_the_quickstart_answers_the_real_client(serving: Serving) -> None:
    with serving.client() as client:
        messages: Any = [{"role": "user", "content": "Hello!"}]
        answer = client.chat.completions.create(model="chat-fast", messages=messages)
        assert "Tidegate" in (answer.choices[0].message.content or "")
        assert answer.usage is not None
        assert answer.usage.total_tokens > 0
        stream: Any = client.chat.completions.create(model="chat-fast", messages=messages, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text == answer.choices[0].message.content
    assert serving.models() == {"chat-fast"}


def test_the_line_it_shows_works_when_pasted(serving: Serving) -> None:
    serving.wait_for(r"(?m)^  curl .*$")
    line = next(line for line in serving.output.splitlines() if line.startswith("  curl "))
    answer = subprocess.run(["bash", "-c", f"{line} --fail"], capture_output=True, text=True, check=True, timeout=30)
    assert '"chat.completion"' in answer.stdout


def test_the_terminal_shows_what_was_loaded_with_its_conditions(serving: Serving) -> None:
    assert re.search(r"loaded 5 objects and 1 Secret from \d files", serving.output)
    for kind, name in (("AIRoute", "chat"), ("AIPolicy", "house-rules"), ("Quota", "free-tier")):
        assert re.search(rf"{kind} +default +{name} +True +True +True +generation 1", serving.output)


def test_an_edit_takes_effect_at_once(serving: Serving) -> None:
    serving.edit("route.yaml", "models: [chat-fast]", "models: [chat-new]")
    serving.wait_for(r"AIRoute default/chat generation 2")
    serving.wait_for(r"revision 2 is in force")
    assert serving.models() == {"chat-new"}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("route.yaml", "models: [chat-fast]", "models: [chat-fast", r"route\.yaml:\d+: "),
        (
            "route.yaml",
            "models: [chat-fast]",
            "models: chat-fast",
            r"route\.yaml:7: AIRoute default/chat: spec\.models",
        ),
        ("policy.yaml", "request.headers['x-project']", "request.haeders['x-project']", r"policy\.yaml:\d+: .*headers"),
        ("quota.yaml", "Europe/Berlin", "Europe/Berlinn", r"quota\.yaml:\d+: .*timeZone"),
    ],
    ids=["half-written", "wrong type", "unknown attribute", "unknown time zone"],
)
def test_a_broken_edit_is_reported_in_words_and_changes_nothing(
    serving: Serving, file: str, old: str, new: str, said: str
) -> None:
    serving.edit(file, old, new)
    serving.wait_for(said)
    serving.wait_for(r"nothing changed: revision 1 stays in force")
    assert serving.models() == {"chat-fast"}
    serving.edit(file, new, old)
    serving.wait_for(r"all problems are mended")


def test_a_deleted_consumer_is_gone_at_once(serving: Serving) -> None:
    (serving.folder / "consumer.yaml").unlink()
    serving.wait_for(r"revision 2 is in force")
    with serving.client() as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_it_ends_in_order_when_told_to(serving: Serving) -> None:
    serving.process.terminate()
    assert serving.process.wait(10) == 0
    assert "Traceback" not in serving.output
