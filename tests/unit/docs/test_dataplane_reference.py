"""The reference of the data plane names each flag, and each path of the admin port."""

import re
from pathlib import Path

from dataplane.planes import running
from tidegate_dataplane.main import _parser

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "dataplane.md").read_text()


def test_each_flag_has_a_place_and_no_other_is_named() -> None:
    flags = {flag for action in _parser()._actions for flag in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"(--[a-z][a-z-]+)", PAGE)) == flags


def test_the_defaults_are_those_of_the_program() -> None:
    options = _parser().parse_args([])
    assert f"| `{options.listen}` | callers |" in PAGE
    assert f"| `--backend-queue N` | {options.backend_queue} |" in PAGE
    assert f"| `--calls-per-turn N` | {options.calls_per_turn} |" in PAGE
    assert f"| `--max-body-bytes N` | {options.max_body_bytes} |" in PAGE
    assert f"| `--queue-wait TIME` | `{options.queue_wait:g}s` |" in PAGE
    assert f"| `--store-deadline TIME` | `{options.store_deadline * 1000:g}ms` |" in PAGE
    assert f"| `--drain-delay TIME` | `{options.drain_delay:g}s` |" in PAGE
    assert f"| `--grace TIME` | `{options.grace:g}s` |" in PAGE


async def test_each_path_of_the_admin_port_is_described() -> None:
    async with running() as plane:
        paths = {route.path for route in plane._make_admin().app().routes if hasattr(route, "path")}
    assert set(re.findall(r"^\| `(/[^`?]+)` \|", PAGE, re.MULTILINE)) == paths
