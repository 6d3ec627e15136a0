"""The whole misuse corpus in one pass: offline, at the door of a real API server, and before a real operator."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import program, start_operator
from cluster.harness.install import apply_crds, apply_rbac
from cluster.misuse.corpus import Mutant, corpus
from cluster.misuse.judges import at_the_door
from cluster.misuse.mutations import ON_TEXT, ON_TREE
from cluster.misuse.run import Pass, at_the_doors, live, prepare
from e2e.admission.installing import apply_policies

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 5


@pytest.mark.timeout(300)
def test_the_three_judges_say_the_same(tmp_path: Path) -> None:
    rounds = list(corpus(ROUNDS))
    mutants = [mutant for _, made in rounds for mutant in made]
    assert len(mutants) >= 200
    assert {mutant.mutation for mutant in mutants} == {*ON_TREE, *ON_TEXT}
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        began = time.monotonic()
        prepare(server, rounds)
        doors = at_the_doors(server, mutants, tmp_path / "mutants")
        operator = start_operator(server, data_plane_urls=[], directory=tmp_path)
        try:
            words, offline = live(server, operator, rounds, doors, tmp_path / "world")
        finally:
            operator.stop()
        seconds = time.monotonic() - began
        outcome = Pass(doors, words, offline)
        assert not outcome.disagreements, "\n\n".join(outcome.disagreements)
        assert "Traceback" not in operator.log_text()
        apply_policies(server)
        early = _refused_by_policies(server, outcome, mutants)
    refused = [door for door in doors if door.server]
    turned_down = [name for name, said in words.items() if said]
    print(
        f"{len(mutants)} misused manifests in {seconds:.0f} s: {len(refused)} refused at the door, "
        f"{len(turned_down)} by the operator ({early} by admission policies before), the rest fine; "
        f"0 disagreements, {sum(not door.agree for door in doors)} stricter on purpose"
    )
    assert len(refused) > 50
    assert len(turned_down) > 10


def _refused_by_policies(server: ApiServer, outcome: Pass, mutants: list[Mutant]) -> int:
    """How many the policies in the API server refuse: none that the operator would have taken."""
    past_the_door = {id(door.mutant) for door in outcome.doors if not door.server and not door.offline}
    refused = 0
    for mutant in mutants:
        if id(mutant) in past_the_door:
            refusal = at_the_door(server, mutant)
            if refusal and "already exists" not in refusal:
                assert outcome.words[mutant.base.key], f"{mutant}: the policies say {refusal}, the operator nothing"
                refused += 1
    return refused


def test_the_command_reads_all_of_them_without_a_crash(tmp_path: Path) -> None:
    mutants = [mutant for _, made in corpus(ROUNDS) for mutant in made]
    for mutant in mutants:
        (tmp_path / mutant.file).write_bytes(mutant.text)
    for command in ("validate", "lint", "check"):
        ended = subprocess.run(
            [program("tidegate"), command, "-o", "json", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1, ended.stderr
        assert "Traceback" not in ended.stderr
        said = json.loads(ended.stdout)
        problems = said["problems"] if command == "validate" else said.get("remarks", said.get("findings"))
        assert all(problem["message"] and problem["line"] >= 1 for problem in problems)
