"""`tidegate validate` as its user meets it; golden cases in tests/golden/validate/<case>/input.yaml, expected.txt."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tidegate_operator.cli.register import COMMANDS, register

CASES = Path(__file__).resolve().parents[2] / "golden" / "validate"
LOST_ROUTE = (
    "apiVersion: tidegate.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: chat}\n"
    "spec: {models: [chat], targets: [{backendRef: {name: nowhere}}]}\n"
)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    app = typer.Typer(add_completion=False)
    register(app)
    result = CliRunner().invoke(app, ["validate", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_golden(case: str, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / case)
    code, output = run("input.yaml")
    golden(CASES / case / "expected.txt", f"{output}exit code {code}\n")


def test_no_message_repeats_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authors paste keys into wrong fields, and CI logs are public."""
    monkeypatch.chdir(CASES / "secrets")
    for output in ("text", "json"):
        assert "secret-value" in Path("input.yaml").read_text()
        assert "secret-value" not in run("input.yaml", "--output", output)[1]


def test_json_has_a_fixed_shape(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LOST_ROUTE)
    code, output = run(str(tmp_path), "--output", "json")
    report = json.loads(output)
    assert code == 1
    assert (report["valid"], report["objects"]) == (False, 1)
    (problem,) = report["problems"]
    assert problem == {
        "file": str(tmp_path / "a.yaml"),
        "line": 4,
        "column": 35,
        "object": "AIRoute default/chat",
        "field": "spec.targets[0].backendRef",
        "reason": "BackendNotFound",
        "message": "AIBackend default/nowhere does not exist: create it, or correct the name",
        "severity": "error",
    }


def test_missing_references_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LOST_ROUTE)
    code, output = run(str(tmp_path), "--allow-missing-refs")
    assert code == 0
    assert ":4: warning: AIRoute default/chat: spec.targets[0].backendRef: " in output
    assert output.endswith("valid: 1 object in 1 file, 1 warning\n")


def test_a_cluster_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / "placement")
    code, output = run("input.yaml", "--cluster-fact", "cloud=azure")
    assert (code, output) == (0, "valid: 4 objects in 1 file\n")
    assert run("input.yaml", "--cluster-fact", "cloud=gcp")[0] == 1


def test_a_share_is_spoken_of_only_for_a_cluster_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "quota.yaml").write_text(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Quota\nmetadata: {name: split}\n"
        "spec: {targetRefs: [{kind: Namespace}], share: {aws-eu: 100},\n"
        '  limits: [{unit: Tokens, amount: "5", window: {calendar: Day}}]}\n'
    )
    assert run(str(tmp_path)) == (0, "valid: 1 object in 1 file\n")
    assert run(str(tmp_path), "--cluster-fact", "name=aws-eu") == (0, "valid: 1 object in 1 file\n")
    code, output = run(str(tmp_path), "--cluster-fact", "name=gcp-us")
    assert code == 0
    assert "spec.share: this cluster, gcp-us, has none of it" in output


def test_the_platform_namespace_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / "meaning")
    assert "Gateway is open only" in run("input.yaml")[1]
    assert "Gateway is open only" not in run("input.yaml", "--platform-namespace", "default")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such file or folder"),
        ([], "Missing argument"),
        ([".", "--cluster-fact", "azure"], "NAME=VALUE"),
        ([".", "--output", "xml"], "xml"),
    ],
)
def test_unusable_arguments_end_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(*arguments)
    assert code == 2
    assert message in output


def test_an_empty_folder_says_that_nothing_was_judged(tmp_path: Path) -> None:
    assert run(str(tmp_path)) == (0, "nothing to judge: no object of Tidegate in 0 files\n")


def test_a_key_that_the_operator_will_make_needs_no_secret_in_git(tmp_path: Path) -> None:
    keys = "[{name: main, secretRef: {name: app-key, key: token}, generate: {rotateEvery: 30d}}]"
    (tmp_path / "app.yaml").write_text(
        "{apiVersion: tidegate.dev/v1alpha1, kind: AIConsumer, metadata: {name: app, namespace: team-a}, "
        f"spec: {{credentials: {{apiKeys: {keys}}}}}}}\n"
    )
    assert run(str(tmp_path))[0] == 0


@pytest.mark.parametrize("folder", sorted((Path(__file__).resolve().parents[3] / "examples").iterdir()))
def test_the_examples_are_valid(folder: Path) -> None:
    """Each is a world of its own; those of ci are no manifests."""
    if folder.name != "ci":
        assert run(str(folder))[0] == 0


def test_help_imports_no_command() -> None:
    """Listing the commands must not cost the import of what they need."""
    script = (
        "import sys\nfrom typer.testing import CliRunner\nimport typer\n"
        "from tidegate_operator.cli.register import register\n"
        "app = typer.Typer()\nregister(app)\nresult = CliRunner().invoke(app, ['--help'])\n"
        "print(result.output)\n"
        "print(sorted({'pydantic', 'kopf', 'starlette', 'jsonschema', 'cel'} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.rstrip().endswith("[]")
    for name, command in COMMANDS.items():
        assert name in ended.stdout
        assert command.summary.split()[0] in ended.stdout
