"""The guide to budgets: its Quota comes to what the guide says in each cluster, its grant and its test hold."""

import re
import shutil
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from tidegate_operator.cli.register import register

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "how-to" / "budgets.md").read_text()
BUDGETS = ROOT / "examples" / "budgets"
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
GATEWAY = """
---
apiVersion: tidegate.dev/v1alpha1
kind: AIBackend
metadata: {name: models, namespace: shared-models}
spec: {provider: Mock, models: [{name: large}]}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIRoute
metadata: {name: chat, namespace: shared-models}
spec: {models: [chat], targets: [{backendRef: {name: models}, model: large}]}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIPolicy
metadata: {name: keys, namespace: shared-models}
spec: {targetRefs: [{kind: Namespace}], authentication: {methods: [APIKey]}}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIConsumer
metadata: {name: web, namespace: shared-models}
spec: {team: search, credentials: {apiKeys: [{name: ci, sha256: "%s"}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: budget-alerts, namespace: shared-models}
stringData: {hmac: not-a-real-secret}
""" % ("0a" * 32)


def _block(start: str) -> str:
    (found,) = [block for block in BLOCKS if block.lstrip().startswith(start)]
    return str(found)


def _run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(add_completion=False)
    register(app)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("cluster", "amount"), [("aws-eu", "$500"), ("gcp-us", "$300"), ("azure-ap", "$200"), ("elsewhere", "$0")]
)
def test_each_cluster_has_its_part_of_a_teams_budget(cluster: str, amount: str, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(_block("apiVersion") + GATEWAY)
    fact = ("--cluster-fact", f"name={cluster}")
    assert _run("validate", str(tmp_path), *fact)[0] == 0
    code, output = _run("explain", str(tmp_path), *fact, "--as", "shared-models/web", "--model", "chat")
    assert code == 0, output
    whole = " ".join(output.split())
    assert f"Cost of shared-models/search: {amount} per Month in Europe/Berlin [Leased; Local without the" in whole
    if cluster == "gcp-us":
        assert f"`{amount} per Month in Europe/Berlin`" in GUIDE


def test_the_grant_is_that_of_the_example() -> None:
    (teams,) = [
        each
        for each in yaml.safe_load_all((BUDGETS / "budgets.yaml").read_text())
        if each["metadata"]["name"] == "teams"
    ]
    assert yaml.safe_load(_block("grants")) == {"grants": teams["spec"]["grants"]}


def test_the_test_passes_on_the_example(tmp_path: Path) -> None:
    folder = shutil.copytree(BUDGETS, tmp_path / "budgets")
    (folder / "tests" / "launch.test.yaml").write_text(_block("resources"))
    assert "`examples/budgets/tests/launch.test.yaml`" in GUIDE
    code, output = _run("test", str(folder), "--cluster-fact", "name=aws-eu")
    assert code == 0, output
    assert "launch.test.yaml: 1 of 1 passed" in output
