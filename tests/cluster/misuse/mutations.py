"""How people get manifests wrong: by hand, by templates, by tools, on purpose.

A mutation is named, seeded and pure: the same random numbers give the same text.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import yaml

Tree = dict[str, Any]
Path = tuple[str | int, ...]
OnTree = Callable[[Tree, random.Random], None]
OnText = Callable[[str, random.Random], str | bytes]


def text_of(tree: Tree) -> str:
    """As a tool would write it: block style, in the order of the fields."""
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _paths(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        for name, item in value.items():
            found += _paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*path, index))
    return found


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def _set(tree: Any, path: Path, value: Any) -> None:
    _at(tree, path[:-1])[path[-1]] = value


def _spec_path(tree: Tree, chance: random.Random, kind: type | tuple[type, ...]) -> Path | None:
    fit = [path for path in _paths(tree["spec"], ("spec",)) if _is(_at(tree, path), kind) and len(path) > 1]
    return chance.choice(fit) if fit else None


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is int)


def _in_place(kind: type | tuple[type, ...], change: Callable[[Any, random.Random], Any]) -> OnTree:
    """Replace a random value of this type within the spec; nothing where there is none."""

    def mutate(tree: Tree, chance: random.Random) -> None:
        path = _spec_path(tree, chance, kind)
        if path is not None:
            _set(tree, path, change(_at(tree, path), chance))

    return mutate


def _in_map(change: Callable[[Tree, random.Random], None]) -> OnTree:
    """Change a random map within the spec, or the spec itself."""

    def mutate(tree: Tree, chance: random.Random) -> None:
        maps = [path for path in _paths(tree) if isinstance(_at(tree, path), dict) and path[0] == "spec"]
        change(_at(tree, chance.choice(maps)), chance)

    return mutate


def _misspelt(fields: Tree, chance: random.Random) -> None:
    if fields:
        name = chance.choice(list(fields))
        wrong = chance.choice((name.upper(), name + "s", name[:-1], name.replace("N", "_n"), f" {name}"))
        fields[wrong] = fields.pop(name)


def _removed(fields: Tree, chance: random.Random) -> None:
    if fields:
        del fields[chance.choice(list(fields))]


def _extra(name: str, value: Any) -> Callable[[Tree, random.Random], None]:
    def change(fields: Tree, _: random.Random) -> None:
        fields[name] = copy.deepcopy(value)

    return change


def _metadata(name: str, value: Any) -> OnTree:
    def mutate(tree: Tree, _: random.Random) -> None:
        tree["metadata"][name] = copy.deepcopy(value)

    return mutate


def _top(name: str, value: Any) -> OnTree:
    def mutate(tree: Tree, _: random.Random) -> None:
        tree[name] = copy.deepcopy(value)

    return mutate


def _nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


def _repeat(items: list[Any], _: random.Random) -> list[Any]:
    return [*items, *copy.deepcopy(items[-1:])]


def _many(items: list[Any], _: random.Random) -> list[Any]:
    return [copy.deepcopy(item) for item in items for _ in range(3000)]


def _misspelt_word(text: str, chance: random.Random) -> str:
    return chance.choice((text.lower(), text.upper(), f"{text} ", f"{text}x"))


def _renamed_reference(tree: Tree, chance: random.Random) -> None:
    names = [path for path in _paths(tree["spec"], ("spec",)) if path[-1] in ("name", "parent", "plan", "key")]
    if names:
        _set(tree, chance.choice(names), "nobody-of-that-name")


def _foreign_reference(tree: Tree, chance: random.Random) -> None:
    maps = [path for path in _paths(tree["spec"], ("spec",)) if str(path[-1]).endswith("Ref")]
    if maps:
        _at(tree, chance.choice(maps))["namespace"] = "kube-system"


def _of_itself(tree: Tree, _: random.Random) -> None:
    """The cycle of one: a quota above itself, a route that is its own backend, a subscription of its own name."""
    name = tree["metadata"]["name"]
    if tree["kind"] == "Quota":
        tree["spec"]["parent"] = name
    elif tree["kind"] == "AIRoute":
        tree["spec"]["targets"] = [{"backendRef": {"name": name}}]
    else:
        _metadata("ownerReferences", [{"apiVersion": "v1", "kind": tree["kind"], "name": name, "uid": ""}])(tree, _)


def _expression(text: str) -> OnTree:
    """In a rule, a key of a quota, or a claim mapping: wherever the kind has CEL."""

    def mutate(tree: Tree, _: random.Random) -> None:
        if tree["kind"] == "AIPolicy":
            rule = {"name": "misuse", "effect": "Deny", "when": text}
            tree["spec"].setdefault("authorization", {}).setdefault("rules", []).append(rule)
        elif tree["kind"] == "Quota":
            tree["spec"]["per"], tree["spec"]["key"] = "Key", {"expression": text}
        else:
            tree["spec"]["when"] = text

    return mutate


_MEANINGLESS: dict[str, tuple[Tree, ...]] = {
    "AIBackend": (
        {"connectTimeout": "0s"},
        {"connectTimeout": "9000h"},
        {"provider": "OpenAI", "endpoint": "https://-x-/", "mock": None},
        {
            "provider": "OpenAI",
            "endpoint": "https://a.example.com",
            "mock": None,
            "tls": {"caBundle": "no certificate"},
        },
    ),
    "AIRoute": (
        {"timeout": "0s"},
        {"streamIdleTimeout": "9000h"},
        {"targets": [{"backendRef": {"name": "nobody"}}]},
        {"targets": [{"backendRef": {"name": "mock", "namespace": "kube-system"}}]},
    ),
    "AIConsumer": (
        {"credentials": {"apiKeys": [{"name": "a", "secretRef": {"name": "nobody", "key": "token"}}]}},
        {"credentials": {"mtls": [{"name": "a", "subject": "no subject"}]}},
        {"credentials": {"apiKeys": [{"name": "a", "sha256": "a" * 64}, {"name": "b", "sha256": "a" * 64}]}},
        {"credentials": {"mtls": [{"name": "a", "uri": "no uri at all"}]}},
    ),
    "AIPolicy": (
        {"network": {"allow": ["10.0.0.0/99"]}},
        {"network": {"deny": ["10.0.0.1/8"]}},
        {"rateLimits": [{"name": "a", "requests": 1, "period": "0s"}]},
        {"targetRefs": [{"kind": "Gateway"}]},
    ),
    "Quota": (
        {"limits": [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Day", "timeZone": "Mars/Phobos"}}]},
        {"limits": [{"unit": "Tokens", "amount": "5", "window": {"sliding": "0s"}}]},
        {"parent": "nobody"},
        {"targetRefs": [{"kind": "AIRoute", "name": "nobody"}]},
    ),
    "AISubscription": ({"plan": "nobody"}, {"consumerRef": {"name": "nobody"}}),
    "AIApproval": ({"notAfter": "0000-01-01T00:00:00Z"}, {"notAfter": "2027-02-29T00:00:00Z"}),
}


def _meaningless(turn: int) -> OnTree:
    """What has the right form and cannot be meant: the schema lets it pass, or has to know better."""

    def mutate(tree: Tree, _: random.Random) -> None:
        variants = _MEANINGLESS[tree["kind"]]
        tree["spec"].update(copy.deepcopy(variants[turn % len(variants)]))

    return mutate


def _full_width(text: str, _: random.Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() and letter.isascii() else letter for letter in text)


ON_TREE: dict[str, OnTree] = {
    "a field misspelt": _in_map(_misspelt),
    "a field misspelt elsewhere": _in_map(_misspelt),
    "a field left out": _in_map(_removed),
    "a field left out elsewhere": _in_map(_removed),
    "an unknown field": _in_map(_extra("enabled", True)),
    "an unknown map": _in_map(_extra("config", {"a": {"b": [1, 2]}})),
    "an unknown field of the object": _top("data", {"a": "b"}),
    "a field named with a dot": _in_map(_extra("a.b", "c")),
    "an empty field name": _in_map(_extra("", "c")),
    "a field name in Cyrillic": _in_map(_extra("nаme", "latin n, cyrillic a")),
    "a list for a text": _in_place(str, lambda text, _: [text]),
    "a map for a text": _in_place(str, lambda text, _: {"value": text}),
    "a number for a text": _in_place(str, lambda text, _: len(text)),
    "a boolean for a text": _in_place(str, lambda text, _: True),
    "a null for a text": _in_place(str, lambda text, _: None),
    "a text for a number": _in_place(int, lambda number, _: str(number)),
    "a fraction for a number": _in_place(int, lambda number, _: number + 0.5),
    "a whole fraction for a number": _in_place(int, lambda number, _: float(number)),
    "a boolean for a number": _in_place(int, lambda number, _: True),
    "a negative number": _in_place(int, lambda number, _: -number - 1),
    "a number beyond 64 bits": _in_place(int, lambda number, _: 2**64),
    "a number of 300 digits": _in_place(int, lambda number, _: 10**299),
    "a text for a list": _in_place(list, lambda items, _: "all"),
    "a map for a list": _in_place(list, lambda items, _: {"item": items}),
    "a null for a list": _in_place(list, lambda items, _: None),
    "an empty list": _in_place(list, lambda items, _: []),
    "a null in a list": _in_place(list, lambda items, _: [*items, None]),
    "a list in a list": _in_place(list, lambda items, _: [items]),
    "an item twice": _in_place(list, _repeat),
    "thousands of items": _in_place(list, _many),
    "a text for a map": _in_place(dict, lambda fields, _: json.dumps(fields)),
    "a list for a map": _in_place(dict, lambda fields, _: [fields]),
    "a null for a map": _in_place(dict, lambda fields, _: None),
    "an empty map": _in_place(dict, lambda fields, _: {}),
    "an empty text": _in_place(str, lambda text, _: ""),
    "blanks for a text": _in_place(str, lambda text, _: "  "),
    "a text of 100,000 letters": _in_place(str, lambda text, _: "a" * 100_000),
    "a text of 2 MiB": _in_place(str, lambda text, _: "a" * (2 << 20)),
    "a word in another case or with a blank": _in_place(str, _misspelt_word),
    "a line break in a text": _in_place(str, lambda text, _: f"{text}\n"),
    "an emoji in a text": _in_place(str, lambda text, _: f"{text}\U0001f30a"),
    "a text from right to left": _in_place(str, lambda text, _: f"\u202e{text}"),
    "a zero-width blank in a text": _in_place(str, lambda text, _: f"{text}\u200b"),
    "a text in full width": _in_place(str, _full_width),
    "combining marks": _in_place(str, lambda text, _: f"{text}{chr(0x301) * 50}"),
    "a control character": _in_place(str, lambda text, _: f"{text}\u0007"),
    "a template that was not filled in": _in_place(str, lambda text, _: "{{ .Values.name }}"),
    "a variable that was not filled in": _in_place(str, lambda text, _: "${NAME}"),
    "no spec": lambda tree, _: tree.pop("spec"),
    "an empty spec": _top("spec", {}),
    "a null spec": _top("spec", None),
    "a text for the spec": _top("spec", "see the wiki"),
    "a list for the spec": _top("spec", [1, 2, 3]),
    "the spec of another kind": _top("spec", {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}}),
    "a status in the file": _top("status", {"observedGeneration": 1, "conditions": []}),
    "a status of another shape": _top("status", {"phase": "Running"}),
    "a spec nested 40 deep": _in_map(_extra("deep", _nested(40))),
    "a spec nested 70 deep": _in_map(_extra("deep", _nested(70))),
    "a name in capitals": _metadata("name", "MyThing"),
    "a name with an underscore": _metadata("name", "my_thing"),
    "a name with a slash": _metadata("name", "my/thing"),
    "a name of 300 letters": _metadata("name", "a" * 300),
    "a name in Greek": _metadata("name", "δρομος"),
    "a number for a name": _metadata("name", 42),
    "an empty name": _metadata("name", ""),
    "no name": lambda tree, _: tree["metadata"].pop("name"),
    "a list for the metadata": _top("metadata", ["name"]),
    "labels that are a list": _metadata("labels", ["a", "b"]),
    "a label that is a number": _metadata("labels", {"version": 2}),
    "a label value with a blank": _metadata("labels", {"team": "team a"}),
    "a label key with a blank": _metadata("labels", {"my team": "a"}),
    "an annotation that is a map": _metadata("annotations", {"owner": {"name": "x"}}),
    "an annotation of 300 KiB": _metadata("annotations", {"note": "x" * (300 << 10)}),
    "an annotation in Japanese": _metadata("annotations", {"note": "\u3053\u308c\u306f\u6ce8\u91c8\u3067\u3059"}),
    "an owner without an identity": _metadata("ownerReferences", [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]),
    "an unknown field of an owner": _metadata(
        "ownerReferences", [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1", "owner": True}]
    ),
    "a finalizer with a blank": _metadata("finalizers", ["my finalizer"]),
    "an unknown field of the metadata": _metadata("namespaces", ["a"]),
    "a deletion time in the file": _metadata("deletionGracePeriodSeconds", 30),
    "an apiVersion without the group": _top("apiVersion", "v1alpha1"),
    "an apiVersion of another version": _top("apiVersion", "tidegate.dev/v1"),
    "a kind in small letters": lambda tree, _: tree.update(kind=tree["kind"].lower()),
    "no kind": lambda tree, _: tree.pop("kind"),
    "a reference to nobody": _renamed_reference,
    "another reference to nobody": _renamed_reference,
    "a reference into another namespace": _foreign_reference,
    "a reference to itself": _of_itself,
    "a value without a meaning": _meaningless(0),
    "another value without a meaning": _meaningless(1),
    "a third value without a meaning": _meaningless(2),
    "a fourth value without a meaning": _meaningless(3),
    "an expression that is no CEL": _expression("if user then allow"),
    "an expression of the wrong type": _expression("'yes'"),
    "an expression over an unknown variable": _expression("user.name == 'x'"),
    "an expression that is not closed": _expression("consumer.team == 'x"),
    "an expression of 10,000 letters": _expression("true" + " || true" * 1249),
    "an expression nested 300 deep": _expression("(" * 300 + "true" + ")" * 300),
}


def _field_line(text: str) -> str:
    """A line of the spec that stands by itself, `  name: value`."""
    lines = text.partition("\nspec:\n")[2].splitlines()
    whole = (line for line in lines if line.startswith("  ") and line[2] not in " -" and not line.endswith(":"))
    found = next(whole, "")
    return found or "  nothing: 1"


def _in_metadata(line: str) -> OnText:
    """A further line in the metadata, as somebody writes it by hand."""

    def mutate(text: str, _: random.Random) -> str:
        return text.replace("metadata:\n", f"metadata:\n  {line}\n", 1)

    return mutate


def _as_list(text: str, _: random.Random) -> str:
    return "".join(f"{'  ' if number else '- '}{line}\n" for number, line in enumerate(text.splitlines()))


def _billion_laughs(text: str, _: random.Random) -> str:
    levels = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    return text + "\n".join(levels) + "\n"


ON_TEXT: dict[str, OnText] = {
    "a field twice": lambda text, _: text + _field_line(text) + "\n" if "\nspec:\n" in text else text,
    "the spec twice": lambda text, _: f"{text}spec: {{}}\n",
    "the metadata twice": lambda text, _: f"{text}metadata: {{name: other}}\n",
    "the name twice": _in_metadata("name: other"),
    "an anchor and its alias": lambda text, _: text.replace("metadata:\n", "metadata: &meta\n", 1) + "x-copy: *meta\n",
    "an alias of labels": _in_metadata("labels: &same {team: a}\n  annotations: *same"),
    "an alias without an anchor": _in_metadata("labels: *nobody"),
    "an alias of what it stands in": lambda text, _: text.replace(
        "metadata:\n", "metadata: &me\n  annotations: *me\n", 1
    ),
    "a merge key": _in_metadata("<<: {labels: {team: a}}"),
    "a merge of no map": _in_metadata("<<: [1, 2]"),
    "a billion laughs": _billion_laughs,
    "a tag of Python": lambda text, _: f"{text}x: !!python/object/apply:os.system ['true']\n",
    "a tag of one's own": _in_metadata("labels: !env {team: a}"),
    "a binary tag": _in_metadata("labels: {team: !!binary YQ==}"),
    "a string tag": _in_metadata("labels: {team: !!str 12}"),
    "an integer tag on text": _in_metadata("labels: {team: !!int twelve}"),
    "a set tag": _in_metadata("labels: !!set {a, b}"),
    "on for a text": _in_metadata("labels: {mode: on}"),
    "a date for a text": _in_metadata("labels: {since: 2026-01-01}"),
    "an octal number for a text": _in_metadata("labels: {mode: 0777}"),
    "a number with colons": _in_metadata("labels: {at: 12:30:45}"),
    "infinity": _in_metadata("labels: {most: .inf}"),
    "a number for a key": _in_metadata("labels: {1: a}"),
    "a boolean for a key": _in_metadata("labels: {yes: a}"),
    "a null for a key": _in_metadata("labels: {~: a}"),
    "a list for a key": _in_metadata("labels: {[a]: b}"),
    "a tab for an indent": lambda text, _: text.replace("\n  ", "\n\t", 1),
    "a bracket that is not closed": lambda text, _: f"{text}x: [1, 2\n",
    "a quote that is not closed": lambda text, _: f'{text}x: "abc\n',
    "a colon in a text": lambda text, _: f"{text}x: a: b\n",
    "lines with carriage returns": lambda text, _: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text, _: f"\ufeff{text}",
    "Latin-1": lambda text, _: f"# caf\u00e9\n{text}".encode("latin-1", "replace"),
    "a null byte": lambda text, _: f"# \x00\n{text}",
    "comments alone": lambda text, _: "# nothing here yet\n",
    "a conflict marker of git": lambda text, _: f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> theirs\n",
    "a template of Helm": lambda text, _: "{{- if .Values.enabled }}\n" + text + "{{- end }}\n",
    "a list of objects": _as_list,
    "JSON": lambda text, _: json.dumps(yaml.safe_load(text)),
    "JSON with a comma too many": lambda text, _: json.dumps(yaml.safe_load(text))[:-1] + ",}",
    "a directive": lambda text, _: f"%YAML 1.1\n---\n{text}",
    "a directive of YAML 1.2": lambda text, _: f"%YAML 1.2\n---\n{text}",
    "a directive of YAML 2": lambda text, _: f"%YAML 2.0\n---\n{text}",
}
