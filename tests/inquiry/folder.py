"""A folder that the tests ask about, and the command line."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from tidegate_operator.cli.register import register

KEY = "key-of-the-search-app"
FILES = {
    "policy.yaml": """\
apiVersion: tidegate.dev/v1alpha1
kind: AIPolicy
metadata: {name: rules}
spec:
  targetRefs:
  - kind: Namespace
  authentication:
    methods: [APIKey]
  authorization:
    rules:
    - name: no-nights
      effect: Deny
      when: now.getHours('UTC') < 7
    - name: researchers
      effect: Allow
      roles: [researcher]
      operations: [Chat]
  network:
    allow: [10.0.0.0/8]
  rateLimits:
  - name: fast
    requests: 10
""",
    "rest.yaml": """\
apiVersion: tidegate.dev/v1alpha1
kind: AIBackend
metadata: {name: mock}
spec: {provider: Mock, mock: {reply: hello}}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIRoute
metadata: {name: chat}
spec:
  models: [gpt-4o]
  operations: [Chat, Embeddings]
  targets: [{backendRef: {name: mock}}]
---
apiVersion: tidegate.dev/v1alpha1
kind: AIConsumer
metadata: {name: search}
spec:
  roles: [researcher]
  credentials:
    apiKeys:
    - {name: main, secretRef: {name: search, key: token}}
---
apiVersion: tidegate.dev/v1alpha1
kind: AIConsumer
metadata: {name: intern}
spec: {}
---
apiVersion: v1
kind: Secret
metadata: {name: search}
stringData: {token: key-of-the-search-app}
""",
}
NOON = "2026-07-01T12:00:00Z"
NIGHT = "2026-07-01T03:00:00Z"


def written(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    app = typer.Typer(add_completion=False)
    register(app)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output
