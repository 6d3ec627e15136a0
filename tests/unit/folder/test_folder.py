"""A folder that is being edited behaves like an API server: generations count up, breakage loses nothing."""

from pathlib import Path

import pytest

from tidegate_operator.folder import Folder
from tidegate_operator.world import Kind, ObjectKey

ROUTE = """\
apiVersion: tidegate.dev/v1alpha1
kind: AIRoute
metadata: {name: chat}
spec:
  models: [chat-fast]
  targets:
  - backendRef: {name: mock}
"""
KEY = ObjectKey(Kind.ROUTE, "default", "chat")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "route.yaml").write_text(ROUTE)
    return Folder((tmp_path,))


def edit(folder: Folder, old: str, new: str) -> None:
    file = folder.paths[0] / "route.yaml"
    file.write_text(file.read_text().replace(old, new))


def test_an_unchanged_object_stays_the_very_same(folder: Folder) -> None:
    first = folder.read().world.resources[KEY]
    edit(folder, "kind: AIRoute", "# a comment\nkind: AIRoute")
    assert folder.read().world.resources[KEY] is first


def test_a_change_of_the_spec_raises_the_generation(folder: Folder) -> None:
    first = folder.read().world.resources[KEY]
    edit(folder, "chat-fast", "chat-slow")
    second = folder.read().world.resources[KEY]
    assert (first.generation, second.generation) == (1, 2)
    assert first.uid == second.uid


def test_an_object_that_was_away_has_no_past(folder: Folder) -> None:
    first = folder.read().world.resources[KEY]
    (folder.paths[0] / "route.yaml").unlink()
    assert KEY not in folder.read().world.resources
    (folder.paths[0] / "route.yaml").write_text(ROUTE)
    again = folder.read().world.resources[KEY]
    assert again.generation == 1
    assert again.uid != first.uid


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("spec:", "spec: ["),
        ("kind: AIRoute", "kind: AIRoute\nkind: AIRoute"),
        ("metadata:", "\tmetadata:"),
        ("kind: AIRoute", "kind: AIRuote"),
        ("kind: AIRoute\n", ""),
    ],
    ids=["half-written", "duplicate key", "tab", "misspelt kind", "no kind"],
)
def test_a_file_that_cannot_be_read_keeps_its_objects_and_says_why(folder: Folder, old: str, new: str) -> None:
    first = folder.read().world.resources[KEY]
    edit(folder, old, new)
    for _ in range(2):
        reading = folder.read()
        assert reading.world.resources.get(KEY) is first
        assert [problem.file.endswith("route.yaml") for problem in reading.problems] == [True]
        assert reading.kept == (str(folder.paths[0] / "route.yaml"),)
    (folder.paths[0] / "route.yaml").write_text(ROUTE)
    mended = folder.read()
    assert (mended.world.resources[KEY], mended.problems) == (first, ())


def test_a_good_edit_beside_a_broken_document_counts(folder: Folder) -> None:
    folder.read()
    (folder.paths[0] / "other.yaml").write_text(ROUTE.replace("chat", "other"))
    folder.read()
    edit(folder, "spec:", "spec: [")
    (folder.paths[0] / "other.yaml").write_text(ROUTE.replace("chat", "other").replace("other-fast", "other-new"))
    world = folder.read().world
    assert world.resources[KEY].generation == 1
    assert world.resources[ObjectKey(Kind.ROUTE, "default", "other")].generation == 2
