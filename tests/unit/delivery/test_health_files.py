"""What lies under deploy/argocd is what our code and health.lua give now. `make test-argocd` executes it."""

from delivery.health_files import CUSTOMIZATIONS, ROOT, rendered


def test_the_generated_files_are_up_to_date() -> None:
    wanted = dict(rendered())
    stale = [str(path.relative_to(ROOT)) for path, text in wanted.items() if path.read_text() != text]
    left = [str(path.relative_to(ROOT)) for path in CUSTOMIZATIONS.rglob("*.*") if path not in wanted]
    assert (stale, left) == ([], []), "run: PYTHONPATH=tests .venv/bin/python -m delivery.health_files"
