"""Times `tidegate diff` on 3,000 routes and 20,000 consumers, as a process of its own: `make bench-diff`.

OLD and NEW stand in files of one kind and namespace, in one file an object, and in two commits of a git repository.
NEW has edits of each kind: some routes, consumers and policies, or a policy for the whole gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.figures import Goal, median, report, table
from bench.worlds import Manifest, Size, manifests
from tidegate_operator.world import Facts

GOAL_SECONDS = 5.0
ROUNDS = 3
_EDITED = 20


class Written(NamedTuple):
    """An object and its YAML."""

    manifest: Manifest
    text: str


def written(manifest: Manifest) -> Written:
    """The object as a person would write it: in block style."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return Written(manifest, yaml.dump(manifest, Dumper=dumper, sort_keys=False))


def edited(objects: Iterable[Written]) -> Iterator[Written]:
    """The same objects with some edits of each kind."""
    seen: dict[str, int] = {}
    for one in objects:
        kind, spec = one.manifest["kind"], one.manifest["spec"]
        number = seen[kind] = seen.get(kind, 0) + 1
        change: Manifest = {}
        if kind == "AIRoute" and number <= _EDITED:
            change = {"timeout": "45s"}
        elif kind == "AIConsumer" and number <= _EDITED:
            change = {"suspended": True}
        elif kind == "AIPolicy" and number == 4:
            rules = [{"name": "inference", "effect": "Allow", "roles": ["inference"], "models": ["chat-000*"]}]
            change = {"authorization": {"rules": rules}}
        elif kind == "Quota" and number == 5:
            change = {"limits": [{**limit, "amount": "1000000"} for limit in spec["limits"]]}
        yield written({**one.manifest, "spec": {**spec, **change}}) if change else one


def gateway_policy() -> Manifest:
    """Concerns every route and consumer."""
    spec = {
        "targetRefs": [{"kind": "Gateway"}],
        "authorization": {"rules": [{"name": "odd", "effect": "Deny", "when": "consumer.name.endsWith('7')"}]},
    }
    metadata = {"name": "everywhere", "namespace": Facts().platform_namespace}
    return {"apiVersion": "tidegate.dev/v1alpha1", "kind": "AIPolicy", "metadata": metadata, "spec": spec}


def write(folder: Path, objects: Iterable[Written], *, each: bool) -> None:
    """One file an object, or one for each kind and namespace."""
    texts: dict[Path, list[str]] = {}
    for manifest, text in objects:
        metadata = manifest["metadata"]
        stem = folder / metadata["namespace"] / manifest["kind"].lower()
        path = stem / f"{metadata['name']}.yaml" if each else stem.with_suffix(".yaml")
        texts.setdefault(path, []).append(text)
    for path, parts in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(parts))


def commit(repository: Path, source: Path, message: str) -> None:
    """The files of `source` as the next commit."""
    shutil.rmtree(repository / "policies", ignore_errors=True)
    shutil.copytree(source, repository / "policies")
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (["add", "-A"], ["commit", "-q", "-m", message]):
        subprocess.run([*git, *arguments], cwd=repository, check=True)


def run(cwd: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds of wall and of CPU of one command, and its last line on stdout."""
    command = [str(Path(sys.executable).with_name("tidegate")), "diff", *arguments]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 1:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--routes", type=int, default=3_000)
    parser.add_argument("--consumers", type=int, default=20_000)
    options = parser.parse_args()
    size = Size(options.routes, options.consumers)
    with tempfile.TemporaryDirectory(prefix="tidegate-diff-") as name:
        rows, data = measure(Path(name), size, options.rounds)
    worst = max(row["wall"] for row in data)
    goal = Goal(
        f"diff of {size.objects:,} objects", f"{worst:.1f} s at most", f"<= {GOAL_SECONDS:.0f} s", worst <= GOAL_SECONDS
    )
    text = table("tidegate diff (medians)", ("OLD and NEW", "seconds", "CPU seconds"), rows)
    return report("diff", tables=[text], goals=[goal], data={"rounds": options.rounds, "cases": data})


def measure(folder: Path, size: Size, rounds: int) -> tuple[list[tuple[str, str, str]], list[dict[str, Any]]]:
    """A row for each case."""
    cases = prepare(folder, size)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, (cwd, arguments) in cases.items():
            print(f"  round {number + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
            wall, cpu, written = run(cwd, *arguments)
            assert json.loads(written)["effects"][0]["objects"], "NEW differs"
            taken[name].append((wall, cpu))
    data: list[dict[str, Any]] = []
    rows: list[tuple[str, str, str]] = []
    for name, figures in taken.items():
        wall, cpu = (median([figure[at] for figure in figures]) for at in (0, 1))
        data.append({"case": name, "wall": wall, "cpu": cpu, "walls": [figure[0] for figure in figures]})
        rows.append((name, f"{wall:.2f}", f"{cpu:.2f}"))
    return rows, data


def prepare(folder: Path, size: Size) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """The folders and the repository; what to run where."""
    print("  writing the manifests", file=sys.stderr, flush=True)
    objects = [written(manifest) for manifest in manifests(size)]
    for name, each in (("few", False), ("each", True)):
        write(folder / f"{name}-old", objects, each=each)
        write(folder / f"{name}-new", edited(objects), each=each)
    write(folder / "gateway-new", [*objects, written(gateway_policy())], each=False)
    repository = folder / "repository"
    repository.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    commit(repository, folder / "each-old", "before")
    commit(repository, folder / "each-new", "after")
    output = ("--output", "json")
    return {
        "folders, a file for each kind and namespace": (folder, ("few-old", "few-new", *output)),
        "folders, a file for each object": (folder, ("each-old", "each-new", *output)),
        "two commits, a file for each object": (repository, ("HEAD~1:policies", "HEAD:policies", *output)),
        "a policy for the whole gateway": (folder, ("few-old", "gateway-new", *output)),
    }


if __name__ == "__main__":
    raise SystemExit(main())
