"""Reading folders: which files, which objects, and where everything stands."""

import json
import os
from pathlib import Path

import pytest

from tidegate_operator.manifests import MAX_FILE_BYTES, Loaded, Manifest, load_paths, to_world
from tidegate_operator.problems import Severity
from tidegate_operator.world import Kind, ObjectKey, SecretKey

BACKEND = "apiVersion: tidegate.dev/v1alpha1\nkind: AIBackend\nmetadata: {name: %s}\nspec: {provider: Mock}\n"


def write(folder: Path, **files: str) -> None:
    """Write files; `__` in a name is a folder and a final `_yaml` an extension."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/").removesuffix("_yaml") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(loaded: Loaded) -> list[str]:
    return [manifest.name for manifest in loaded.documents]


def messages(loaded: Loaded) -> list[str]:
    return [str(problem) for problem in loaded.problems]


def test_folders_are_read_recursively_in_order(tmp_path: Path) -> None:
    write(tmp_path, b=BACKEND % "b", sub__a=BACKEND % "sub-a", a=BACKEND % "a")
    (tmp_path / "c.yml").write_text(BACKEND % "c")
    (tmp_path / "d.json").write_text(
        '{"apiVersion": "tidegate.dev/v1alpha1", "kind": "AIBackend", "metadata": {"name": "d"}, "spec": {}}'
    )
    (tmp_path / "notes.txt").write_text("not read")
    assert names(load_paths([tmp_path])) == ["a", "b", "c", "d", "sub-a"]


def test_json_with_characters_beyond_the_first_plane(tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIBackend",
        "metadata": {"name": "wave"},
        "spec": {"provider": "Mock", "mock": {"reply": "\U0001f30a \\ud83c\\udf0a"}},
    }
    (tmp_path / "a.json").write_text(json.dumps(manifest))
    (found,) = load_paths([tmp_path]).documents
    assert found.raw == manifest


def test_hidden_files_tests_and_kustomizations_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, a=BACKEND % "a")
    for name in (".hidden.yaml", ".git/x.yaml", "a.test.yaml", "kustomization.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("broken: [")
    loaded = load_paths([tmp_path])
    assert names(loaded) == ["a"]
    assert loaded.problems == ()


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A mounted ConfigMap is links into a hidden folder; a link upwards must not loop."""
    data = tmp_path / "..2026" / "a.yaml"
    data.parent.mkdir()
    data.write_text(BACKEND % "a")
    (tmp_path / "a.yaml").symlink_to(data)
    (tmp_path / "again.yaml").symlink_to(data)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    loaded = load_paths([tmp_path, tmp_path / "a.yaml"])
    assert names(loaded) == ["a"]
    assert loaded.problems == ()


def test_a_missing_path_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_paths([tmp_path / "nowhere"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbf" + (BACKEND % "marked").encode())
    (tmp_path / "utf16.yaml").write_bytes((BACKEND % "x").encode("utf-16"))
    loaded = load_paths([tmp_path])
    assert names(loaded) == ["marked"]
    found = [(Path(problem.file).name, problem.line, problem.text) for problem in loaded.problems]
    assert found == [
        ("big.yaml", 1, "larger than 8 MiB; split it"),
        ("latin.yaml", 2, "not UTF-8; save the file as UTF-8"),
        ("utf16.yaml", 1, "not UTF-8; save the file as UTF-8"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    write(tmp_path, a=BACKEND % "a")
    (tmp_path / "a.yaml").chmod(0)
    assert "cannot be read: Permission denied" in messages(load_paths([tmp_path]))[0]


def test_fields_stand_where_they_stand(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=f"# first\n{BACKEND % 'a'}---\nkind: AIRoute\napiVersion: tidegate.dev/v1alpha1\n"
        "metadata:\n  name: chat\nspec:\n  targets:\n  - backendRef:\n      name: a\n    weight: 1\n",
    )
    _, route = load_paths([tmp_path]).documents
    assert route.line_of("spec.targets[0].backendRef.name") == 14
    assert route.line_of(("spec", "targets", 0, "weight")) == 15
    assert route.line_of("spec.targets[0].backendRef.namespace") == 13
    assert route.line_of("spec.targets[7].weight") == 12
    assert route.line_of("spec.retry.attempts") == 11
    assert route.line_of("metadata.namespace") == 9
    assert route.line_of("nothing") == 7


def test_items_of_a_list_are_objects_with_their_own_lines(tmp_path: Path) -> None:
    item = "- apiVersion: tidegate.dev/v1alpha1\n  kind: AIBackend\n  metadata: {name: %s}\n  spec: {}\n"
    write(tmp_path, a="apiVersion: v1\nkind: List\nitems:\n" + item % "x" + item % "z" + "- text\n")
    loaded = load_paths([tmp_path])
    assert names(loaded) == ["x", "z"]
    assert [manifest.line_of("metadata.name") for manifest in loaded.documents] == [6, 10]
    assert messages(loaded) == [f"{tmp_path}/a.yaml:12: not a Kubernetes object; write apiVersion, kind and metadata"]


def test_the_same_object_twice_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, a=BACKEND % "x", b=BACKEND % "x, namespace: default")
    loaded = load_paths([tmp_path])
    assert messages(loaded) == [
        f"{tmp_path}/b.yaml:3: AIBackend default/x: metadata.name: the same object stands in {tmp_path}/a.yaml:3 "
        "already; keep one, or give it another name"
    ]
    assert [problem.reason for problem in loaded.problems] == ["Duplicate"]


def test_other_kinds_are_noted_and_ignored(tmp_path: Path) -> None:
    write(tmp_path, a="apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")
    loaded = load_paths([tmp_path])
    assert loaded.documents == ()
    assert [(problem.severity, problem.reason) for problem in loaded.problems] == [(Severity.WARNING, "Ignored")]


@pytest.mark.parametrize("name", ["Chat", "a_b", "-a", "a" * 254, "a\\n", ""])
def test_an_object_with_an_impossible_name_has_no_identity(tmp_path: Path, name: str) -> None:
    write(tmp_path, a=BACKEND % f'"{name}"')
    loaded = load_paths([tmp_path])
    assert [problem.field for problem in loaded.problems] == ["metadata.name"]
    assert to_world(loaded).resources == {}


def test_the_world_holds_what_a_cluster_would_store(tmp_path: Path) -> None:
    route = (
        "apiVersion: tidegate.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: chat, namespace: team-a}\n"
        "spec: {models: [a], match: null, targets: [{backendRef: {name: b}}]}\n"
    )
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: aGk=, b: aGk=}\nstringData: {b: text}\n"
    write(tmp_path, a=route, b=secret)
    key = ObjectKey(Kind.ROUTE, "team-a", "chat")
    world = to_world(load_paths([tmp_path]), {key: 7})
    assert world.resources[key].generation == 7
    assert world.resources[key].spec == {
        "models": ["a"],
        "targets": [{"backendRef": {"name": "b"}}],
        "pathPrefix": "/v1",
        "timeout": "60s",
        "streamIdleTimeout": "60s",
        "retry": {"attempts": 2},
    }
    assert world.secrets == {SecretKey("default", "s"): {"a": b"hi", "b": b"text"}}


def test_an_object_with_a_schema_problem_is_handed_over(tmp_path: Path) -> None:
    """The compiler refuses it and keeps its last good form."""
    write(tmp_path, a=BACKEND.replace("{provider: Mock}", "[not, a, map]") % "x", b=BACKEND.replace("Mock", "3") % "z")
    specs = [resource.spec for resource in to_world(load_paths([tmp_path])).resources.values()]
    assert specs == [{}, {"provider": 3, "connectTimeout": "5s"}]


def test_of_two_objects_with_one_identity_the_first_counts(tmp_path: Path) -> None:
    write(tmp_path, a=BACKEND % "x", b=BACKEND.replace("Mock", "OpenAI") % "x")
    (resource,) = to_world(load_paths([tmp_path])).resources.values()
    assert resource.spec["provider"] == "Mock"


def test_secrets_never_show(tmp_path: Path) -> None:
    write(tmp_path, a="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hush-hush}\n")
    loaded = load_paths([tmp_path])
    assert "hush-hush" not in repr(loaded) + repr(to_world(loaded)) + repr(loaded.documents[0].document)
    assert isinstance(loaded.documents[0], Manifest)
