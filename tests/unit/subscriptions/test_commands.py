"""`tidegate approve` and `tidegate subscriptions` over the example, as their users meet them."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from tidegate_operator.approving import approval_name, end_of
from tidegate_operator.cli.register import register

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "subscriptions"
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    return shutil.copytree(EXAMPLE, tmp_path / "example")


def run(*arguments: object) -> Result:
    app = typer.Typer(add_completion=False)
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_is_printed_lets_the_waiting_team_in(folder: Path) -> None:
    waiting = run("subscriptions", folder)
    assert waiting.exit_code == 0
    assert "team-support/support-chat" in waiting.stdout
    assert "team-search/search-chat" not in waiting.stdout
    (command,) = re.findall(r"^to approve: tidegate (.*)$", waiting.stdout, re.MULTILINE)
    approved = run(*command.split(), "--until", "90d")
    assert approved.exit_code == 0
    assert "AIConsumer team-support/support asks for plan gold of AIRoute models/chat: Drafts of" in approved.stderr
    manifest = yaml.safe_load(approved.stdout)
    assert (manifest["kind"], manifest["metadata"]["namespace"]) == ("AIApproval", "models")
    left = datetime.fromisoformat(manifest["spec"]["notAfter"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)
    (folder / "support-chat.yaml").write_text(approved.stdout)
    assert run("validate", folder).exit_code == 0
    assert "nothing waits for an approval; 2 in all" in run("subscriptions", folder).stdout
    every = run("subscriptions", folder, "--all").stdout
    assert re.search(rf"support-chat +support +models/chat +gold +Approved +{manifest['spec']['notAfter']}", every)


def test_a_wish_that_was_edited_waits_again(folder: Path) -> None:
    file = folder / "team-search.yaml"
    file.write_text(file.read_text().replace("plan: basic", "plan: gold"))
    assert "team-search/search-chat" in run("subscriptions", folder).stdout
    report = run("validate", folder)
    assert report.exit_code == 1
    assert "spec.subscription.plan: AISubscription team-search/search-chat asks for the plan gold" in report.stdout


def test_the_reason_of_a_stranger_stays_on_stderr_and_on_one_line(folder: Path) -> None:
    file = folder / "team-support.yaml"
    # A reason with control characters is not valid; that of a valid one may still have line breaks.
    file.write_text(file.read_text().replace("Drafts of answers to tickets.", '"a\\n  revoked: false\\nspec: {}"'))
    approved = run("approve", "team-support/support-chat", "--dir", folder)
    assert approved.exit_code == 0
    assert "spec: {}" not in approved.stdout
    assert approved.stderr.rstrip().endswith("AIRoute models/chat: a revoked: false spec: {}")
    assert list(yaml.safe_load(approved.stdout)["spec"]) == ["subscription"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("search-chat", "--dir", EXAMPLE), 2, "write NAMESPACE/SUBSCRIPTION"),
        (("team-search/none", "--dir", EXAMPLE), 2, "there are: team-search/search-chat, team-support/support-chat"),
        (("team-search/search-chat", "--dir", EXAMPLE / "none"), 2, "none"),
        (("team-search/search-chat", "--dir", EXAMPLE, "--until", "yesterday"), 2, "--until: write a time such as"),
        (("team-search/search-chat", "--dir", EXAMPLE, "--until", "2020-01-01T00:00:00Z"), 2, "has passed"),
        (("team-search/search-chat", "--kubeconfig", EXAMPLE / "none"), 2, "give --kubeconfig, or --dir"),
        (("team-search/search-chat", "--kubeconfig", EXAMPLE / "route.yaml", "--dir", EXAMPLE), 2, "not both"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: tuple[object, ...], code: int, message: str) -> None:
    result = run("approve", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_a_subscription_that_is_not_valid_is_not_approved(folder: Path) -> None:
    file = folder / "team-support.yaml"
    file.write_text(file.read_text().replace("plan: gold", "plan: Gold!"))
    result = run("approve", "team-support/support-chat", "--dir", folder)
    assert result.exit_code == 1
    assert "is not valid: spec.plan: must be" in result.stderr
    assert result.stdout == ""
    assert "not valid" in run("subscriptions", folder, "--all").stdout


def test_an_end_is_a_time_or_a_duration() -> None:
    assert end_of("1h30m", NOW) == "2026-07-01T13:30:00Z"
    assert end_of("2026-07-02T00:00:00+02:00", NOW) == "2026-07-01T22:00:00Z"
    for wrong in ("0s", "2026-07-01T12:00:00Z", "soon", "", "999999d" * 4):
        with pytest.raises(ValueError, match=r"write a time|has passed|too far"):
            end_of(wrong, NOW)


def test_names_of_approvals_are_distinct_and_fit() -> None:
    long = approval_name("n" * 63, "s" * 253)
    assert len(long) <= 253
    assert long != approval_name("n" * 62, "s" * 253)
    assert approval_name("team-a", "chat.v2") == "team-a.chat.v2"
