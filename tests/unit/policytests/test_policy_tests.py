"""`tidegate test` as its user meets it: what is checked, what is said of a failure, and what is no test file."""

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from inquiry.folder import run, written

HEAD = """\
defaults:
  as: search
  at: "2026-07-01T12:00:00Z"
  request: {model: gpt-4o, sourceIp: 10.0.0.7}
tests:
"""
GOOD = """\
- name: researchers may chat
  expect:
    allowed: true
    rule: AIPolicy default/rules rule researchers
    route: default/chat
    limits: [rules fast]
- name: not by night
  at: "2026-07-01T03:00:00Z"
  expect: {allowed: false, status: 403, code: permission_denied, rule: AIPolicy default/rules rule no-nights}
- name: callers
  each:
  - {as: intern}
  - anonymous: true
    expect: {code: invalid_api_key, reason: key, remedy: call as}
  expect: {allowed: false, reason: "[researcher]", remedy: the role researcher}
"""


def outcome_of(folder: Path, text: str, *options: str) -> tuple[int, str]:
    written(folder)
    (folder / "access.test.yaml").write_text(text)
    return run("test", str(folder), *options)


GOOD = GOOD.replace(
    "expect: {status: 401, code: invalid_api_key}}", "expect: {code: invalid_api_key, reason: key, remedy: call as}}"
)


def test_good_tests_pass(tmp_path: Path) -> None:
    code, output = outcome_of(tmp_path, HEAD + GOOD)
    assert code == 0, output
    assert "access.test.yaml: 4 of 4 passed" in output


def test_a_failure_stands_first_with_what_happened_instead(tmp_path: Path) -> None:
    wrong = "- name: interns may chat\n  as: intern\n  expect: {allowed: true}\n"
    code, output = outcome_of(tmp_path, HEAD + GOOD + wrong)
    assert code == 1
    first, second = output.splitlines()[:2]
    assert first == f"FAILED {tmp_path}/access.test.yaml:21: interns may chat"
    assert second == "  expected it to be allowed, it is refused with 403 permission_denied"
    assert f"({tmp_path}/policy.yaml:14)" in output
    assert "give AIConsumer default/intern the role researcher" not in output
    assert "1 failed, 4 passed" in output


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("{status: 404}", "expected status 404, got 200"),
        ("{code: nope}", "expected code 'nope', got ''"),
        ("{rule: AIPolicy default/rules rule other}", "expected rule 'AIPolicy default/rules rule other'"),
        ("{route: default/other}", "expected route 'AIRoute default/other', got 'AIRoute default/chat'"),
        ("{limits: [slow]}", "expected limits with 'slow', got AIPolicy default/rules fast"),
        ("{targets: [azure]}", "expected targets with 'azure'"),
        ("{shadow: [trial]}", "expected shadow with 'trial', got none"),
        ("{reason: because}", "expected reason with 'because'"),
        ("{remedy: money}", "expected remedy with 'money', got none"),
        ("{consumer: default/other}", "expected consumer 'AIConsumer default/other'"),
        ("{allowed: false}", "expected it to be refused, it is allowed"),
        ("{listed: false}", "expected listed False, got True"),
    ],
)
def test_each_expectation_can_fail(tmp_path: Path, expect: str, told: str) -> None:
    code, output = outcome_of(tmp_path, f"{HEAD}- name: one\n  expect: {expect}\n")
    assert code == 1
    assert told in output


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("tests:\n- name: a\n  expct: {allowed: true}\n", 3, "tests[0].expct: there is no such field"),
        ("tests:\n- name: a\n  request: {model: m, modle: x}\n", 3, "tests[0].request.modle: there is no such field"),
        ("tests:\n- name: a\n  as: x\n  expect: {allowed: 3}\n", 4, "Expected `bool`, got `int`"),
        ("tests:\n- name: a\n  as: x\n  request: {model: m}\n", 2, "say what is expected"),
        ("tests:\n- name: a\n  as: x\n  expect: {allowed: true}\n", 2, "the request needs a model"),
        ("tests:\n- name: a\n  request: {model: m}\n  expect: {allowed: true}\n", 2, "say who calls"),
        ("tests:\n- expect: {allowed: true}\n", 2, "a test needs a name"),
        ("resources: [nowhere]\ntests: []\n", 1, "resources[0]: leads to no file"),
        ("defaults: {}\n", 1, "tests: required"),
        ("tests:\n- name: a\n  as: [x\n", 4, "not valid YAML"),
        (HEAD + "- name: a\n  at: later\n  expect: {allowed: true}\n", 7, "time 'later' is no time"),
        (HEAD + "- name: a\n  expect: {allowed: true, status: 403}\n", 6, "has no status and code of a refusal"),
        (HEAD + "- name: a\n  expect: {code: x}\n- name: a\n  expect: {code: x}\n", 8, "the name stands in line 6"),
    ],
)
def test_what_is_no_test_file_is_named_by_line(tmp_path: Path, text: str, line: int, told: str) -> None:
    code, output = outcome_of(tmp_path, text)
    assert code == 2
    assert f"access.test.yaml:{line}: " in output
    assert told in output


def test_objects_of_a_test_stand_before_those_of_the_folder(tmp_path: Path) -> None:
    objects = """\
objects:
- apiVersion: tidegate.dev/v1alpha1
  kind: AIConsumer
  metadata: {name: intern}
  spec: {roles: [researcher]}
"""
    test = "- {name: promoted, as: intern, expect: {allowed: true}}\n"
    assert outcome_of(tmp_path, objects + HEAD + test)[0] == 0
    assert outcome_of(tmp_path, HEAD + test)[0] == 1


def test_only_some(tmp_path: Path) -> None:
    code, output = outcome_of(tmp_path, HEAD + GOOD, "--filter", "by night")
    assert (code, "1 of 1 passed" in output) == (0, True)
    assert outcome_of(tmp_path, HEAD + GOOD, "--filter", "nothing such")[0] == 2


def test_objects_that_are_not_valid_are_no_ground_to_test_on(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "broken.yaml").write_text(
        "apiVersion: tidegate.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: broken}\nspec: {models: []}\n"
    )
    (tmp_path / "access.test.yaml").write_text(HEAD + GOOD)
    code, output = run("test", str(tmp_path))
    assert code == 2
    assert "broken.yaml:4: AIRoute default/broken: spec.models" in output


def test_coverage_tells_what_no_test_touched(tmp_path: Path) -> None:
    code, output = outcome_of(tmp_path, HEAD + GOOD)
    assert "coverage: 6 of 6 rules, sections and limits decided a test (100 %)" in output
    code, output = outcome_of(tmp_path, f"{HEAD}- {{name: one, expect: {{allowed: true}}}}\n", "--min-coverage", "90")
    assert code == 1
    assert f"{tmp_path}/policy.yaml:11: AIPolicy default/rules no-nights: never matched" in output
    assert "coverage is 83.3 %, less than 90 %" in output


def test_wrongs_that_no_test_notices(tmp_path: Path) -> None:
    code, output = outcome_of(tmp_path, HEAD + GOOD, "--mutate")
    assert code == 0
    place = f"not noticed: {tmp_path}/policy.yaml"
    assert f"{place}:18: AIPolicy default/rules: network: removed" in output
    assert f"{place}:17: AIPolicy default/rules: rule researchers: operations dropped" in output
    assert "rule no-nights: removed" not in output
    assert outcome_of(tmp_path, HEAD + GOOD, "--mutate", "--strict")[0] == 1
    more = """\
- name: from elsewhere
  request: {sourceIp: 192.0.2.7}
  expect: {code: address_not_allowed}
- name: no embeddings
  request: {operation: Embeddings}
  expect: {allowed: false}
- name: a certificate is no key
  method: MTLS
  expect: {code: method_not_accepted}
"""
    stranger = """\
objects:
- apiVersion: tidegate.dev/v1alpha1
  kind: AIConsumer
  metadata: {name: stranger, namespace: elsewhere}
  spec: {roles: [researcher]}
"""
    last = "- {name: others, as: elsewhere/stranger, expect: {status: 404}}\n"
    code, output = outcome_of(tmp_path, stranger + HEAD + GOOD + more + last, "--mutate", "--strict")
    assert code == 0, output
    assert "not noticed" not in output


def test_junit_has_the_parts_that_both_schemas_want(tmp_path: Path) -> None:
    wrong = (
        "- {name: interns may chat, as: intern, expect: {allowed: true}}\n- {name: who, as: lost, expect: {code: x}}\n"
    )
    outcome_of(tmp_path, HEAD + GOOD + wrong, "--junit", str(tmp_path / "out.xml"))
    root = Xml.parse(tmp_path / "out.xml").getroot()
    assert (root.tag, root.attrib) == ("testsuites", {})
    (suite,) = root
    assert [part.tag for part in suite] == ["properties", *["testcase"] * 6, "system-out", "system-err"]
    assert {name: suite.attrib[name] for name in ("id", "package", "tests", "failures", "errors", "hostname")} == {
        "id": "0",
        "package": "tidegate",
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "hostname": "localhost",
    }
    assert suite.attrib.keys() == {
        "id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors", "time"
    }  # fmt: skip
    failed = [case for case in suite.iter("testcase") if len(case)]
    assert [(case.attrib["name"], case[0].tag) for case in failed] == [
        ("interns may chat", "failure"),
        ("who", "error"),
    ]
    assert all({"message", "type"} == case[0].attrib.keys() for case in failed)


def test_json_has_a_fixed_shape(tmp_path: Path) -> None:
    _, output = outcome_of(tmp_path, HEAD + GOOD, "-o", "json", "--mutate")
    body = json.loads(output)
    assert body["passed"] is True
    assert [test["passed"] for test in body["tests"]] == [True] * 4
    assert body["coverage"]["percent"] == 100.0
    assert body["mutation"]["tried"] > len(body["mutation"]["survivors"]) > 0


def test_the_examples_keep_what_they_promise() -> None:
    examples = Path(__file__).resolve().parents[3] / "examples"
    code, output = run("test", str(examples / "quickstart"), "--mutate", "--strict", "--min-coverage", "100")
    assert code == 0, output


def test_callers_whom_only_a_mapping_names(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "people.yaml").write_text("""\
apiVersion: tidegate.dev/v1alpha1
kind: AIRoute
metadata: {name: chat, namespace: people}
spec:
  models: [gpt-4o]
  pathPrefix: /people
  targets: [{backendRef: {name: mock}}]
---
apiVersion: tidegate.dev/v1alpha1
kind: AIBackend
metadata: {name: mock, namespace: people}
spec: {provider: Mock, mock: {reply: hello}}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIPolicy
metadata: {name: people, namespace: people}
spec:
  targetRefs: [{kind: Namespace}]
  authentication:
    methods: [JWT]
    jwt:
    - name: idp
      issuer: https://idp.example.com
      audiences: [tidegate]
      claims: {name: token.claims.user, roles: token.claims.groups}
  authorization:
    rules: [{name: staff, effect: Allow, roles: [staff]}]
""")
    (tmp_path / "people.test.yaml").write_text("""\
defaults:
  request: {model: gpt-4o, path: /people/chat/completions}
tests:
- name: staff
  claims: {iss: https://idp.example.com, sub: u1, user: ada, groups: [staff]}
  expect: {allowed: true, consumer: "people/jwt:ada"}
- name: others
  claims: {iss: https://idp.example.com, sub: u2, user: bob, groups: []}
  expect: {status: 403, reason: the rule names}
""")
    code, output = run("test", str(tmp_path))
    assert code == 0, output
    claims = ("--claim", "iss=https://idp.example.com", "--claim", "user=ada", "--claim", 'groups=["staff"]')
    code, output = run("explain", str(tmp_path), "--model", "gpt-4o", "--path", "/people/chat/completions", *claims)
    assert code == 0, output
    assert "AIConsumer people/jwt:ada by JWT" in output
