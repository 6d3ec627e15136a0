"""A slice of the misuse corpus at the door; `make test-misuse` runs the whole, and lets it in before an operator."""

from __future__ import annotations

from pathlib import Path

from cluster.harness.apiserver import ApiServer
from cluster.misuse.corpus import corpus
from cluster.misuse.run import Pass, at_the_doors, prepare


def test_offline_judge_and_api_server_say_the_same_of_misused_manifests(
    api_server: ApiServer, crds: list[str], tmp_path: Path
) -> None:
    assert crds
    rounds = list(corpus(1))
    prepare(api_server, rounds)
    doors = at_the_doors(api_server, [mutant for _, mutants in rounds for mutant in mutants], tmp_path)
    assert not Pass(doors).disagreements, "\n\n".join(Pass(doors).disagreements)
    refused = sum(bool(door.server) for door in doors)
    assert len(doors) // 3 < refused < len(doors)  # else the corpus tells nothing apart
    for door in doors:
        for problem in door.offline:
            assert problem.line >= 1, door
            assert problem.text, door
            assert len(str(problem)) < 2000, door
