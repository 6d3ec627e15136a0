"""`tidegate check`: what validate, test and lint say, in one verdict."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inquiry.folder import run

ROOT = Path(__file__).resolve().parents[3]
UNUSED = """\
apiVersion: tidegate.dev/v1alpha1
kind: AIBackend
metadata: {name: "old, unused"}
spec: {provider: Mock}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The quickstart, with its tests."""
    return Path(shutil.copytree(ROOT / "examples" / "quickstart", tmp_path / "policies"))


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def add_unused(folder: Path, name: str = "old") -> None:
    (folder / "old.yaml").write_text(UNUSED.replace("old, unused", name))


def test_what_is_fine_passes(folder: Path) -> None:
    code, output = run("check", str(folder))
    assert code == 0, output
    assert "validate: valid; 5 objects in 5 files" in output
    assert re.search(r"^test: \d+ passed$", output, re.MULTILINE)
    assert re.search(r"^lint: 1 info$", output, re.MULTILINE)
    assert re.search(r"^passed in \d+\.\d s$", output, re.MULTILINE)


def test_a_lint_fails_by_its_severity(folder: Path) -> None:
    add_unused(folder)
    code, output = run("check", str(folder))
    assert code == 1
    assert "old.yaml:3: warning UnusedBackend: AIBackend default/old: metadata.name: no AIRoute refers to it" in output
    assert output.splitlines()[-1].startswith("FAILED")
    assert run("check", "--fail-on", "error", str(folder))[0] == 0
    assert run("check", "--ignore", "UnusedBackend", str(folder))[0] == 0


def test_an_error_is_said_once_and_fails_whatever_fail_on_says(folder: Path) -> None:
    spoil(folder / "route.yaml", "operations:", "operation:")
    code, output = run("check", "--fail-on", "never", str(folder))
    assert code == 1
    assert output.count("did you mean operations?") == 1
    assert "test: not run: some objects under test are not valid" in output


def test_a_conflict_is_said_once(folder: Path) -> None:
    text = (folder / "route.yaml").read_text()
    (folder / "twin.yaml").write_text(text.replace("name: chat", "name: twin", 1))
    code, output = run("check", str(folder))
    assert code == 1
    assert len(re.findall(r"already answers Chat for model", output)) == 1


def test_a_test_that_fails_is_explained(folder: Path) -> None:
    spoil(folder / "tests" / "access.test.yaml", "allowed: true", "allowed: false")
    code, output = run("check", str(folder))
    assert code == 1
    assert "FAILED " in output
    assert "expected it to be refused, it is allowed" in output
    assert re.search(r"^test: \d+ passed, \d+ failed$", output, re.MULTILINE)


def test_a_test_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "tests" / "bad.test.yaml").write_text("tests: [{expects: {}}]\n")
    code, output = run("check", str(folder))
    assert code == 1
    assert re.search(r"bad\.test\.yaml:1: error", output), output


def test_without_tests_it_says_so_and_passes(folder: Path) -> None:
    shutil.rmtree(folder / "tests")
    code, output = run("check", str(folder))
    assert code == 0
    assert "test: there are no tests; write a file *.test.yaml" in output


def test_other_tools_objects_may_stand_beside(folder: Path) -> None:
    (folder / "namespace.yaml").write_text("{apiVersion: v1, kind: Namespace, metadata: {name: default}}\n")
    code, output = run("check", str(folder))
    assert code == 0
    assert "namespace.yaml:1: info Ignored: Namespace default" in output


def test_each_cluster_is_judged_by_itself(folder: Path) -> None:
    """A backend that is in one of the clusters alone leaves the route of the other without a target."""
    spoil(folder / "backend.yaml", "spec:\n", "spec:\n  placement: {clusterSelector: {matchLabels: {cloud: aws}}}\n")
    aws, gcp = ("--cluster", "name=one,cloud=aws"), ("--cluster", "name=two,cloud=gcp")
    shutil.rmtree(folder / "tests")
    assert run("check", *aws, str(folder))[0] == 0
    for clusters in (gcp, (*aws, *gcp)):
        code, output = run("check", *clusters, str(folder))
        assert code == 1
        assert "error BackendNotFound: AIRoute default/chat: spec.targets[0].backendRef" in output


@pytest.mark.parametrize("wrong", ["cloud", "=aws", "cloud=", "cloud=aws,region"])
def test_a_cluster_that_cannot_be_read_is_refused(wrong: str, folder: Path) -> None:
    code, output = run("check", "--cluster", wrong, str(folder))
    assert code == 2
    assert "write NAME=VALUE" in output


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code, output = run("check", str(tmp_path / "nowhere"))
    assert code == 2
    assert "no such file or folder" in output


def test_json_says_the_same(folder: Path) -> None:
    add_unused(folder)
    code, output = run("check", "-o", "json", str(folder))
    said = json.loads(output)
    assert code == 1
    assert said["passed"] is False
    assert (said["objects"], said["files"]) == (6, 6)
    assert {remark["code"]: remark["severity"] for remark in said["remarks"]} == {
        "UnusedBackend": "warning",
        "SecretInFiles": "info",
    }
    assert said["tests"]["failed"] == 0
    assert said["tests"]["passed"] > 0


def test_junit_has_a_suite_for_remarks_and_one_for_each_test_file(folder: Path, tmp_path: Path) -> None:
    add_unused(folder)
    file = tmp_path / "check.xml"
    code, text = run("check", "--junit", str(file), "-o", "junit", str(folder))
    assert code == 1
    for root in (ElementTree.fromstring(text.strip().encode()), ElementTree.parse(file).getroot()):
        suites = list(root)
        assert next(suite.get("name") for suite in suites) == "validate and lint"
        assert len(suites) == 2
        (failed,) = root.iter("failure")
        assert "no AIRoute refers to it" in str(failed.get("message"))
        assert "old.yaml:3" in str(failed.text)


def test_annotations_for_github_stand_on_one_line_each(folder: Path) -> None:
    add_unused(folder, "x")
    (folder / "50%,a:b.yaml").write_text(UNUSED.replace("old, unused", "y"))
    code, output = run("check", "-o", "github", str(folder))
    assert code == 1
    found = re.findall(r"^::(error|warning|notice) file=([^,]*),line=(\d+),title=(\w+)::(.+)$", output, re.MULTILINE)
    assert ("warning", f"{folder}/old.yaml", "3", "UnusedBackend") in [one[:4] for one in found]
    assert f"{folder}/50%25%2Ca%3Ab.yaml" in [one[1] for one in found]
