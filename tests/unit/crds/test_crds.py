"""What every generated CRD must be, whatever the models say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cel
import pytest

from tidegate_crds import generate
from tidegate_crds.definition import NAMES, custom_resource_definition, documented_schema, open_api_schema
from tidegate_crds.reference import api_reference
from tidegate_crds.schema import structural_schema, with_safe_defaults
from tidegate_crds.v1alpha1 import KINDS
from tidegate_crds.v1alpha1.shapes import Shape
from tidegate_crds.wording import PATTERN_WORDS
from tidegate_operator.yaml_scalars import plain_value

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every schema node below `node`, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], path + mark)


def declared(kind: str) -> list[tuple[str, Node]]:
    """Every node of spec and status."""
    properties = open_api_schema(kind)["properties"]
    return [found for part in ("spec", "status") for found in nodes(properties[part], part)]


def test_the_committed_files_are_those_of_the_models() -> None:
    assert generate.main(["--check"]) == 0


def test_a_stale_file_is_named_with_the_command_that_renews_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(tmp_path)]
    assert generate.main(root) == 0
    assert generate.main(["--check", *root]) == 0
    (tmp_path / "crds" / "quotas.yaml").write_text("other")
    capsys.readouterr()
    assert generate.main(["--check", *root]) == 1
    message = capsys.readouterr().err
    assert message.startswith("crds/quotas.yaml is stale: run `python -m tidegate_crds.generate`")
    assert message.count("\n") == 1
    assert (tmp_path / "crds" / "quotas.yaml").read_text() == "other"


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_structural(kind: str) -> None:
    for path, node in declared(kind):
        assert node["type"] in ("object", "array", "string", "integer", "boolean"), path
        assert not node.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const"}, path
        assert node.get("additionalProperties") is not False, path
        assert not ("properties" in node and "additionalProperties" in node), path


@pytest.mark.parametrize("kind", KINDS)
def test_every_size_has_a_limit(kind: str) -> None:
    """The API server estimates the cost of CEL rules from them, and nobody can fill etcd."""
    for path, node in declared(kind):
        limit = {"array": "maxItems", "string": "maxLength"}.get(node["type"])
        if "additionalProperties" in node:
            limit = "maxProperties"
        assert limit is None or limit in node or "enum" in node, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    for path, node in declared(kind):
        if not path.endswith(("[]", "{}")):
            assert node.get("description", "").endswith("."), path


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_stands_where_it_would_do_harm(kind: str) -> None:
    """Not inside lists (Argo CD reports them as out of sync), and no list (nobody owns its items)."""
    for path, node in declared(kind):
        if "default" in node:
            assert "[]" not in path
            assert not isinstance(node["default"], list)


def test_a_default_that_is_not_filled_in_is_told() -> None:
    operations = open_api_schema("AIRoute")["properties"]["spec"]["properties"]["operations"]
    assert operations["description"] == "What callers may ask for. Default: [Chat]."
    assert "| `spec.operations` | list of string (a set) | `[Chat]` |" in api_reference()


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_judge_the_whole_text_and_have_words(kind: str) -> None:
    for path, node in declared(kind):
        if "pattern" in node:
            assert node["pattern"].startswith("^"), path
            assert node["pattern"].endswith("$"), path
            assert node["pattern"] in PATTERN_WORDS, path


@pytest.mark.parametrize("kind", KINDS)
def test_lists_say_how_they_merge(kind: str) -> None:
    for path, node in declared(kind):
        if node["type"] != "array":
            continue
        list_type = node["x-kubernetes-list-type"]
        assert list_type in ("set", "map", "atomic"), path
        if list_type == "map":
            assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path


@pytest.mark.parametrize("kind", KINDS)
def test_rules_compile_and_their_messages_name_the_field(kind: str) -> None:
    shared = {"has", "size", "all", "exists", "exists_one", "filter", "map", "startsWith", "endsWith", "contains"}
    for path, node in declared(kind):
        for rule in node.get("x-kubernetes-validations", ()):
            functions = {name for name in cel.compile(rule["rule"]).functions() if re.fullmatch(r"[A-Za-z]\w*", name)}
            assert functions <= shared | {"matches"}, rule["rule"]
            assert path.split(".")[0] in rule["message"], rule["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_columns(kind: str) -> None:
    crd = custom_resource_definition(kind)
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    assert crd["metadata"]["name"] == f"{names['plural']}.tidegate.dev"
    assert names["categories"] == ["tidegate"]
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[:2] == ["Ready", "Reason"]
    assert columns[-3:] == ["Served", "Message", "Age"]


def test_short_names_differ() -> None:
    assert len({names.short for names in NAMES.values()}) == len(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_lists_every_field(kind: str) -> None:
    page = api_reference()
    for path, _ in nodes(documented_schema(kind)["properties"]["spec"], "spec"):
        if "." in path and not path.endswith(("[]", "{}")):
            assert f"`{path}`" in page


def test_no_name_needs_quotes_in_yaml() -> None:
    """kubectl reads YAML 1.1, where `on`, `y` and their like are booleans."""
    found: set[str] = set()
    for kind in KINDS:
        for _, node in declared(kind):
            words = [*node.get("properties", {}), *node.get("enum", ())]
            found |= {word for word in words if isinstance(plain_value(word), bool | None)}
    assert found == set()


def test_a_union_of_types_is_refused() -> None:
    class Either(Shape):
        value: int | str

    with pytest.raises(ValueError, match="union of 2 types"):
        structural_schema(Either)


def test_an_object_default_goes_where_none_of_its_fields_has_one() -> None:
    class Inner(Shape):
        text: str | None = None

    class Outer(Shape):
        inner: Inner = Inner()

    assert "default" not in with_safe_defaults(structural_schema(Outer))["properties"]["inner"]
