"""Starts the peers as plain pass-throughs to the instant upstream: no guard, no limit, one process, one core."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import worlds
from bench.cores import GATEWAY_CORE, pinned
from bench.gateway import json_headers
from bench.wrk import Call
from cluster.harness.processes import ChildProcess, free_port, wait_for_http

_READY_DEADLINE = 90.0

_LITELLM_CONFIG = """
model_list:
- model_name: {model}
  litellm_params: {{model: openai/{model}, api_base: "{endpoint}", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


@dataclass(frozen=True)
class Peer:
    """A running peer and the call it answers; a context manager."""

    process: ChildProcess
    call: Call

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def start_litellm(program: Path, folder: Path, *, endpoint: str, body: Path, model: str) -> Peer:
    """LiteLLM's proxy with one worker. It refuses to start without a master key, so a fresh one guards it."""
    port, key = free_port(), f"sk-{secrets.token_hex(24)}"
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM_CONFIG.format(model=model, endpoint=endpoint))
    command = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    quiet = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    process = ChildProcess("litellm", pinned(GATEWAY_CORE, command), log=folder / "litellm.log", env=quiet)
    call = Call(f"http://127.0.0.1:{port}{worlds.PATH}", body, json_headers(key))
    return _ready(Peer(process, call), f"http://127.0.0.1:{port}/health/liveliness")


def start_portkey(program: Path, folder: Path, *, endpoint: str, body: Path) -> Peer:
    """Portkey's gateway; provider and upstream come with each request, as its callers do it."""
    port = free_port()
    command: list[str | Path] = ["node", program, "--headless", f"--port={port}"]
    process = ChildProcess("portkey", pinned(GATEWAY_CORE, command), log=folder / "portkey.log")
    headers: Mapping[str, str] = {
        **json_headers("none"),
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": endpoint,
    }
    call = Call(f"http://127.0.0.1:{port}{worlds.PATH}", body, headers)
    return _ready(Peer(process, call), f"http://127.0.0.1:{port}/")


def _ready(peer: Peer, url: str) -> Peer:
    try:
        wait_for_http(url, deadline=_READY_DEADLINE, process=peer.process)
    except BaseException:
        peer.process.stop()
        raise
    return peer
