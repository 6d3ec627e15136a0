"""`tidegate diff OLD NEW`: what a change of manifests does, before it is merged."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidegate_dataplane.proxy.explain import read_time
from tidegate_dataplane.runtime import BuildError
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.cli.loading import PLATFORM_NAMESPACE, PlatformNamespace, refuse
from tidegate_operator.cli.progress import Progress, progress
from tidegate_operator.compile import CompileError
from tidegate_operator.difference.as_markdown import as_markdown
from tidegate_operator.difference.as_text import as_text
from tidegate_operator.difference.effect import Difference, Effect
from tidegate_operator.difference.effects import effect_of
from tidegate_operator.difference.reading import Content, Reader
from tidegate_operator.difference.refused import unreadable
from tidegate_operator.difference.replay import Replayer, RequestLine
from tidegate_operator.difference.sides import ClusterBench, Sides
from tidegate_operator.manifest_files import manifest_files
from tidegate_operator.manifests import content_of
from tidegate_operator.offline.validation import cluster_facts
from tidegate_operator.revision import Repository, RevisionError
from tidegate_operator.usage.lines import STDIN, Fault, read_lines
from tidegate_operator.world import Facts

COMMAND = "diff"
VERSION = 1
"""Of the JSON form."""
_EFFECT = 1


class Output(StrEnum):
    """How the difference is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A folder or a git revision: main, HEAD~1, main:policies.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it becomes: a folder or a revision.")],
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTS", help="A cluster by its facts, such as name=aws-eu,cloud=aws,region=eu-west-1 (repeatable)."
        ),
    ] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Audit logs (.gz too): which recorded requests would be decided otherwise."),
    ] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="When rules are asked: RFC 3339, or now.")] = "now",
    source_ip: Annotated[
        str, typer.Option(metavar="IP", help="Address of callers; absent: wherever policies let in calls from.")
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="How the difference is written.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
) -> None:
    """Say what a change of manifests does: not its text, but who may call what, limits, routes, and what is refused.

    Exit code 0: no effect; 1: an effect; 2: it cannot be told (arguments, files, git).
    """
    try:
        now = read_time(at)
        clusters = [_cluster(text) for text in cluster or ("",)]
        with _without_collection(), progress(COMMAND) as said:
            contents = _read(old, new, said)
            found = [_effect(contents, facts, platform_namespace, now, source_ip or None, said) for facts in clusters]
            effects = _replayed(found, replay or [], said)
    except (RevisionError, CompileError, BuildError, ValueError) as error:
        refuse(COMMAND, str(error))
    except OSError as error:
        refuse(COMMAND, f"{error.filename or 'a file'}: {error.strerror or error}")
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    difference = Difference(VERSION, old, new, moment, tuple(effects))
    typer.echo(_written(difference, output))
    raise typer.Exit(_EFFECT if difference else 0)


def _written(difference: Difference, output: Output) -> str:
    match output:
        case Output.JSON:
            return msgspec.json.format(msgspec.json.encode(difference)).decode()
        case Output.MARKDOWN:
            return as_markdown(difference)
    return as_text(difference)


def _effect(
    contents: tuple[Content, Content],
    facts: ClusterFacts,
    platform_namespace: str,
    now: float,
    address: str | None,
    said: Progress,
) -> tuple[Effect, Sides]:
    before, after = contents
    where = f" for {facts.name}" if facts.name else ""
    said.stage(f"compiling{where}")
    bench = ClusterBench(before.world, after.world, platform_namespace)
    sides = bench.sides(Facts(platform_namespace=platform_namespace, cluster=facts))
    said.stage(f"trying calls{where}")
    effect = effect_of(
        sides,
        cluster=_shown(facts),
        now=now,
        address=address,
        unreadable=unreadable(before.problems, after.problems),
        progress=said.step,
    )
    return effect, sides


def _replayed(found: list[tuple[Effect, Sides]], logs: list[Path], said: Progress) -> list[Effect]:
    """The effects with what becomes of recorded requests; the logs are read once for all clusters."""
    if not logs:
        return [effect for effect, _ in found]
    replayers = [Replayer(sides) for _, sides in found]
    sizes = {path: path.stat().st_size for path in logs if path != STDIN}

    def take(line: RequestLine) -> None:
        for replayer in replayers:
            replayer.take(line)

    def fault(one: Fault) -> None:
        for replayer in replayers:
            replayer.fault(one)

    said.stage("deciding recorded requests (bytes)")
    read_lines(logs, take, fault, lambda path, position: said.step(position, sizes.get(path, 0)), RequestLine)
    return [
        msgspec.structs.replace(effect, replay=replayer.result())
        for (effect, _), replayer in zip(found, replayers, strict=True)
    ]


def _read(old: str, new: str, said: Progress) -> tuple[Content, Content]:
    """Both sides, each file that is the same on both once."""
    reader = Reader()
    folders = [Path(text) if Path(text).exists() else None for text in (old, new)]
    found: list[Content] = []
    for text, folder, other in ((old, folders[0], folders[1]), (new, folders[1], folders[0])):
        said.stage(f"reading {text}")
        files = _files_of_revision(text, other, said) if folder is None else list(_files_of_folder(folder))
        found.append(reader.read(files))
    return found[0], found[1]


def _files_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    inside = str(folder / "_")[:-1]
    for path in manifest_files([folder]):
        yield str(path).removeprefix(inside) if path != folder else path.name, content_of(path)


def _files_of_revision(text: str, other: Path | None, said: Progress) -> list[tuple[str, bytes]]:
    """The files of a revision; a folder on the other side says which of them are meant."""
    folder = other if other is None or other.is_dir() else other.parent
    try:
        repository = Repository.around(Path.cwd())
    except RevisionError as error:
        if folder is None:
            raise RevisionError(f"{text}: no such folder; and as a revision: {error}") from None
        try:
            repository = Repository.around(folder)
        except RevisionError:
            raise RevisionError(f"{text}: no such folder; and as a revision: {error}") from None
    files, left_out = repository.files(repository.find(text, other))
    for line in left_out:
        typer.echo(f"not read: {text}: {line}", err=True)
    return files


def _cluster(text: str) -> ClusterFacts:
    """The facts of `name=aws-eu,cloud=aws`; raises ValueError."""
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value) or name in pairs:
            raise ValueError(f"--cluster {text!r}: write NAME=VALUE,NAME=VALUE, such as name=aws-eu,cloud=aws")
        pairs[name] = value
    return cluster_facts(pairs)


def _shown(facts: ClusterFacts) -> str:
    """Its name; without one, what is known of it."""
    known = {"cloud": facts.cloud, "region": facts.region, "jurisdiction": facts.jurisdiction, **facts.labels}
    return facts.name or ",".join(f"{name}={value}" for name, value in known.items() if value)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Millions of objects come and none goes: looking for garbage among them takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
