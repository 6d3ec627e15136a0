"""What `tidegate explain` and `tidegate access` say of quotas: whose counter, how much here and now, what then."""

import json
from pathlib import Path

import pytest

from inquiry.folder import NOON, run, written

QUOTAS = """\
apiVersion: tidegate.dev/v1alpha1
kind: AIBackend
metadata: {name: spare}
spec: {provider: Mock}
---
apiVersion: tidegate.dev/v1alpha1
kind: Quota
metadata: {name: money}
spec:
  targetRefs: [{kind: Namespace}]
  accuracy: Leased
  failureMode: Local
  share: {aws-eu: 60, gcp-us: 40}
  parent: whole
  grants:
  - name: more
    unit: Cost
    amount: "10"
    reason: r
    notBefore: "2026-07-01T00:00:00Z"
    notAfter: "2026-07-02T00:00:00Z"
  limits:
  - {unit: Cost, amount: "50.50", window: {calendar: Month, timeZone: Europe/Berlin}, onExceed: Fallback}
  - {unit: ComputeSeconds, amount: "1.5", window: {sliding: 36h}}
  - {unit: Cost, amount: "60", window: {calendar: Month, timeZone: Europe/Berlin}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Quota
metadata: {name: whole}
spec:
  targetRefs: [{kind: AIRoute, name: chat}]
  per: Backend
  limits:
  - {unit: Concurrent, amount: "3", onExceed: Queue, queue: {timeout: 1500ms}}
  - {unit: Tokens, amount: "100", window: {calendar: Day}, onExceed: Alert}
"""
ROUTE = "targets: [{backendRef: {name: mock}}]"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    written(tmp_path)
    (tmp_path / "quotas.yaml").write_text(QUOTAS)
    rest = tmp_path / "rest.yaml"
    rest.write_text(
        rest.read_text().replace(
            ROUTE, "targets: [{backendRef: {name: mock}}, {backendRef: {name: spare}, fallback: true}]"
        )
    )
    return str(tmp_path)


ASKED = ("--as", "search", "--model", "gpt-4o", "--source-ip", "10.0.0.7", "--cluster-fact", "name=aws-eu")


def limits_in(output: str) -> list[str]:
    block = output.split("limits that count this call:\n")[1].split("\n\n")[0]
    return [line.strip() for line in block.splitlines()]


def test_explain_says_what_holds_here_and_now(folder: str) -> None:
    code, output = run("explain", folder, *ASKED, "--at", "2026-07-01T12:00:00Z")
    assert code == 0
    place = f"{folder}/quotas.yaml"
    assert limits_in(output)[1:] == [
        f"Quota default/money Cost of default/search: $36.3 per Month in Europe/Berlin "
        f"[Leased; Local without the store; then the fallback targets]  ({place}:23)",
        f"Quota default/money ComputeSeconds of default/search: 0.9 s in 36h "
        f"[Leased; Local without the store]  ({place}:24)",
        f"Quota default/money Cost of default/search: $42 per Month in Europe/Berlin "
        f"[Leased; Local without the store]  ({place}:25)",
        f"Quota default/whole Concurrent of default/mock: 3 at once [then waits up to 1.5 s]  ({place}:34)",
        f"Quota default/whole Tokens of default/mock: 100 per Day in UTC "
        f"[only alerts; counted, never refuses]  ({place}:35)",
    ]
    assert "AIBackend default/spare model '(as asked)' priority 0 weight 1 fallback" in output


def test_a_grant_that_is_over_and_another_cluster(folder: str) -> None:
    _, output = run("explain", folder, *ASKED, "--at", "2026-07-02T12:00:00Z", "--output", "json")
    found = {(one["object"], one["field"]): one for one in json.loads(output)["limits"]}
    assert found["Quota default/money", "spec.limits[0]"] == {
        "object": "Quota default/money",
        "name": "Cost",
        "unit": "Cost",
        "amount": 30_300_000,
        "perSecond": 0.0,
        "window": "per Month in Europe/Berlin",
        "obeyed": True,
        "scope": "default/search",
        "accuracy": "Leased",
        "failureMode": "Local",
        "onExceed": "Fallback",
        "queueSeconds": 0.0,
        "field": "spec.limits[0]",
        "overagePrice": 0,
        "safeShare": 100,
        "midStream": "Finish",
        "alertAt": [],
    }
    elsewhere = (*ASKED[:-1], "name=azure")
    _, output = run("explain", folder, *elsewhere, "--at", NOON)
    assert "Quota default/money Cost of default/search: $0 per Month" in output


BEYOND = """\
apiVersion: tidegate.dev/v1alpha1
kind: Quota
metadata: {name: beyond}
spec:
  targetRefs: [{kind: Namespace}]
  accuracy: Leased
  failureMode: Local
  safeShare: {aws-eu: 30}
  limits:
  - {unit: Tokens, amount: "1000", window: {calendar: Day}, onExceed: Charge, overagePrice: "2.50", alertAt: [50, 80]}
  - {unit: OutputTokens, amount: "500", window: {calendar: Day}, midStream: End}
"""


def test_explain_says_what_is_paid_told_ended_and_safe(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "quotas.yaml").write_text(BEYOND)
    asked = ("explain", str(tmp_path), *ASKED, "--at", NOON)
    _, output = run(*asked)
    place, store = f"{tmp_path}/quotas.yaml", "Leased; Local without the store for 30 % of it"
    assert limits_in(output)[-2:] == [
        f"Quota default/beyond Tokens of default/search: 1000 per Day in UTC [{store}; what is beyond is charged, "
        f"$2.5 a million; told at 50, 80 %; counted, never refuses]  ({place}:10)",
        f"Quota default/beyond OutputTokens of default/search: 500 per Day in UTC "
        f"[{store}; ends a stream that uses it up]  ({place}:11)",
    ]
    _, output = run(*asked, "--output", "json")
    charged, ended = json.loads(output)["limits"][-2:]
    assert (charged["overagePrice"], charged["safeShare"], charged["alertAt"]) == (2_500_000, 30, [50, 80])
    assert ended["midStream"] == "End"


def test_access_says_the_same(folder: str) -> None:
    _, output = run(
        "access", "search", folder, "--at", NOON, "--source-ip", "10.0.0.7", "--cluster-fact", "name=aws-eu"
    )
    assert (
        "Quota default/money ComputeSeconds of default/search: 0.9 s in 36h [Leased; Local without the store]" in output
    )
    assert "Quota default/whole Concurrent of default/mock: 3 at once [then waits up to 1.5 s]" in output
