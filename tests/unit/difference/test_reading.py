"""What `tidegate diff` reads is what `tidegate serve` reads; what is the same on both sides is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate_operator.difference.reading import Reader
from tidegate_operator.manifest_files import manifest_files
from tidegate_operator.manifests import load_paths, to_world
from tidegate_operator.problems import Severity

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
CONSUMER = "apiVersion: tidegate.dev/v1alpha1\nkind: AIConsumer\nmetadata: {name: %s}\nspec: {tier: %s}\n"


def files(folder: Path) -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes()) for path in manifest_files([folder])]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_reads_what_serve_reads(folder: Path) -> None:
    loaded = load_paths([folder])
    world = to_world(loaded)
    read = Reader().read(files(folder))
    assert read.world.resources == world.resources
    assert list(read.world.resources) == list(world.resources)
    assert read.world.secrets == world.secrets
    assert read.world.config_maps == world.config_maps
    errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
    assert (len(read.problems), read.files) == (errors, len(loaded.files))


def test_a_document_that_is_the_same_in_another_file_is_the_same_object() -> None:
    reader = Reader()
    one, other = CONSUMER % ("one", "free"), CONSUMER % ("two", "free")
    old = reader.read([("a.yaml", f"{one}---\n{other}".encode())]).world
    new = reader.read([("a.yaml", f"{CONSUMER % ('one', 'gold')}---\n{other}".encode())]).world
    (edited, same) = old.resources
    assert new.resources[same] is old.resources[same]
    assert new.resources[edited].spec["tier"] == "gold"


def test_the_first_of_two_counts_and_the_other_is_told() -> None:
    read = Reader().read(
        [("a.yaml", (CONSUMER % ("one", "free")).encode()), ("b.yaml", (CONSUMER % ("one", "x")).encode())]
    )
    (resource,) = read.world.resources.values()
    (problem,) = read.problems
    assert resource.spec["tier"] == "free"
    assert (problem.file, problem.reason) == ("b.yaml", "Duplicate")


def test_what_is_not_plain_keeps_its_line() -> None:
    text = f"{CONSUMER % ('one', 'free')}---\n{CONSUMER % ('two', '&x free')}---\na: [\n"
    read = Reader().read([("a.yaml", text.encode())])
    assert [key.name for key in read.world.resources] == ["one", "two"]
    (problem,) = read.problems
    assert problem.line > 10
