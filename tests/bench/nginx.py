"""nginx in two parts: the instant upstream that every gateway calls, and the plain reverse proxy they are held against.

Both run as a single process (`master_process off`), so that stopping it stops all of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.cores import GATEWAY_CORE, LOAD_CORE, pinned
from cluster.harness.processes import ChildProcess, free_port, wait_for_http

COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1767225600,
    "model": "bench-model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The tide gate opens at the ebb and closes at the flood."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 14, "total_tokens": 134},
}

_MAIN = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; server_tokens off; default_type application/json;
  keepalive_requests 1000000000; keepalive_timeout 3600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
"""

_UPSTREAM = """
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{answer}'; }}
  }}
"""

_PROXY = """
  upstream instant {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location = /ready {{ return 200 '{{}}'; }}
    location / {{ proxy_pass http://instant; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""


class Nginx:
    """A running nginx and the port it listens on; a context manager."""

    def __init__(self, name: str, *, core: int, port: int, config: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        conf = folder / "nginx.conf"
        conf.write_text(_MAIN.format(folder=folder, servers=config))
        command = pinned(core, ["nginx", "-p", folder, "-e", folder / "error.log", "-c", conf])
        self.process = ChildProcess(name, command, log=folder / "nginx.log")
        try:
            wait_for_http(f"{self.url}/ready", process=self.process)
        except BaseException:
            self.process.stop()
            raise

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def start_upstream(folder: Path) -> Nginx:
    """An upstream on the load core that answers every request at once with the same chat completion, usage included."""
    port = free_port()
    answer = json.dumps(COMPLETION, separators=(",", ":"))
    config = _UPSTREAM.format(port=port, answer=answer)
    return Nginx("upstream", core=LOAD_CORE, port=port, config=config, folder=folder / "upstream")


def start_proxy(folder: Path, *, upstream_port: int) -> Nginx:
    """A plain reverse proxy on the gateway's core, with keep-alive connections to the upstream."""
    port = free_port()
    config = _PROXY.format(port=port, upstream=upstream_port)
    return Nginx("nginx", core=GATEWAY_CORE, port=port, config=config, folder=folder / "proxy")
