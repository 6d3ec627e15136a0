"""What `tidegate serve` shows: the objects with their conditions, a line to paste, and the effect of every edit."""

import time
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tidegate_dataplane.snapshot.entries import Accuracy, PolicyEntry, QuotaEntry
from tidegate_operator.cli.sample_call import KEY_VARIABLE, SampleCall
from tidegate_operator.compile import Served
from tidegate_operator.conditions import approval_reason
from tidegate_operator.embedded import Revision
from tidegate_operator.offline.judge import schema_problems
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.verdicts import Finding, Verdict
from tidegate_operator.world import Kind, ObjectKey

# More than fits a screen is counted instead of listed; what is wrong is always listed.
_MAX_ROWS = 60
_KINDS = (Kind.ROUTE, Kind.POLICY, Kind.QUOTA, Kind.BACKEND, Kind.CONSUMER, Kind.SUBSCRIPTION, Kind.APPROVAL)


class ServeView:
    """Prints to one console; knows what it has shown, so that an edit shows only its effect."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._verdicts: Mapping[ObjectKey, Verdict] = {}
        self._problems: list[Problem] = []
        self._number = 0

    def loaded(self, revision: Revision) -> None:
        """The first look at the folder: every object with its conditions, then what is wrong and where."""
        verdicts = revision.compiled.verdicts
        counts = (
            _count(len(verdicts), "object"),
            _count(len(revision.reading.world.secrets), "Secret"),
            _count(len(revision.reading.files), "file"),
        )
        self._print("[bold]Tidegate[/] loaded {} and {} from {}".format(*counts))
        if len(verdicts) <= _MAX_ROWS:
            self._console.print(_table(verdicts))
        else:
            self._print(", ".join(f"{number} {kind}" for kind, number in _by_kind(verdicts)))
        problems = problems_of(revision)
        self._show_problems(problems, revision)
        self._remember(revision, problems)

    def listening(self, url: str, admin_url: str, call: SampleCall | None) -> None:
        """Where it answers, and a line that works when pasted."""
        self._print(f"\nserving [bold]{url}[/]  (metrics, status and explain: {admin_url})")
        if call is None:
            self._print("No chat call can be shown: no policy lets in a key whose Secret stands in this folder.")
            return
        self._print(f"try route {call.route}:\n")
        if call.credential is not None and call.credential.value is None:
            self._print(f"  # put the key of {call.credential.where} into {KEY_VARIABLE}")
        self._console.print(Text(f"  {call.curl(url)}"), soft_wrap=True)
        self._print("")

    def without_store(self, limits: list[str]) -> None:
        """Limits that are counted in a store which nobody named."""
        more = f" and {len(limits) - 1} more" if len(limits) > 1 else ""
        self._print(
            f"[yellow]no shared store:[/] {limits[0]}{more} count in one; until you give --store, such as"
            " redis://127.0.0.1:6379, they do what their failureMode says\n"
        )

    def edited(self, revision: Revision, *, refused: str = "") -> None:
        """What an edit changed, or why it changed nothing."""
        lines = list(_changes(self._verdicts, revision.compiled.verdicts))
        problems = problems_of(revision)
        if not lines and problems == self._problems and revision.number == self._number:
            return
        for line in lines:
            self._print(escape(line))
        if problems != self._problems:
            if problems:
                self._show_problems(problems, revision)
            else:
                self._print("[green]all problems are mended[/]")
        if refused:
            self._print(
                f"[red]the data plane refused the snapshot; revision {self._number} stays in force:[/] {refused}"
            )
        elif revision.number != self._number:
            self._print(f"[green]revision {revision.number} is in force[/]")
        else:
            self._print(f"nothing changed: revision {revision.number} stays in force")
        self._remember(revision, problems)

    def failed(self, message: str) -> None:
        """Something that is not about one object; what was in force stays."""
        self._print(f"[red]{escape(message)}[/]")

    def _remember(self, revision: Revision, problems: list[Problem]) -> None:
        self._verdicts = revision.compiled.verdicts
        self._problems = problems
        self._number = revision.number

    def _show_problems(self, problems: list[Problem], revision: Revision) -> None:
        for problem in problems:
            colour = "red" if problem.severity is Severity.ERROR else "yellow"
            self._console.print(Text.assemble((f"{problem.severity}: ", colour), str(problem)), soft_wrap=True)
        for file in revision.reading.kept:
            self._print(f"[yellow]{escape(file)} cannot be read: its objects stay as they were[/]")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False)


def shared_limits(served: Served) -> list[str]:
    """The quotas, and policies with rate limits, that are counted in a shared store."""
    return [
        str(key)
        for key, entry in sorted(served.entries.items(), key=lambda item: str(item[0]))
        if (isinstance(entry, QuotaEntry) and entry.accuracy is not Accuracy.LOCAL)
        or (
            isinstance(entry, PolicyEntry)
            and any(limit.accuracy is not Accuracy.LOCAL for limit in entry.rate_limits or ())
        )
    ]


def problems_of(revision: Revision) -> list[Problem]:
    """What is wrong in the folder: its files, then each object's problems at the lines they speak of.

    The schema speaks first, as it would in a cluster; the compiler's own findings follow where the schema has none.
    """
    reading = revision.reading
    problems = list(reading.problems)
    for manifest in reading.secret_manifests.values():
        problems += schema_problems(manifest)
    for key, verdict in sorted(revision.compiled.verdicts.items()):
        manifest = reading.manifests[key]
        schema = schema_problems(manifest) if verdict.errors else []
        findings = (*(() if schema else verdict.errors), *verdict.unresolved)
        problems += schema
        problems += (manifest.problem(found.field, found.message, reason=found.reason) for found in findings)
        problems += (
            manifest.problem(note.field, note.message, reason=note.reason, severity=Severity.WARNING)
            for note in verdict.notes
        )
    return problems


def _table(verdicts: Mapping[ObjectKey, Verdict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("KIND", "NAMESPACE", "NAME", "ACCEPTED", "RESOLVED", "READY", "SERVED"):
        table.add_column(title)
    for key, verdict in sorted(verdicts.items(), key=lambda item: (_KINDS.index(item[0].kind), item[0])):
        table.add_row(
            key.kind,
            key.namespace,
            key.name,
            _condition(verdict.errors),
            _condition(verdict.unresolved),
            _ready(verdict),
            "none" if verdict.served_generation is None else f"generation {verdict.served_generation}",
        )
    return table


def _condition(findings: tuple[Finding, ...]) -> Text:
    return Text(f"False, {findings[0].reason}", "red") if findings else Text("True", "green")


def _ready(verdict: Verdict) -> Text:
    if not verdict.placed:
        return Text("not placed here", "dim")
    if not (verdict.accepted and verdict.resolved):
        return Text("False", "red")
    word = _approval(verdict)
    return Text("True", "green") if word in ("", "Approved") else Text(word, "yellow")


def _approval(verdict: Verdict) -> str:
    """What became of a subscription by now; "" for other kinds."""
    return approval_reason(verdict.approval, time.time()).value if verdict.approval is not None else ""


def _changes(before: Mapping[ObjectKey, Verdict], after: Mapping[ObjectKey, Verdict]) -> Iterable[str]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if new is None:
            yield f"- {key} deleted"
        elif old is None:
            yield f"+ {key}"
        elif (new.generation, new.served_generation) != (old.generation, old.served_generation):
            stays = "" if new.accepted else f": not accepted, {_in_force(new)}"
            yield f"~ {key} generation {new.generation}{stays}"
        elif _approval(new) != _approval(old):
            yield f"~ {key} {_approval(new)}"


def _in_force(verdict: Verdict) -> str:
    if verdict.served_generation is None:
        return "nothing of it is served"
    return f"generation {verdict.served_generation} stays in force"


def _by_kind(verdicts: Mapping[ObjectKey, Verdict]) -> list[tuple[str, int]]:
    return [(kind, sum(key.kind is kind for key in verdicts)) for kind in _KINDS]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
