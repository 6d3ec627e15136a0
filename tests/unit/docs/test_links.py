"""Every link of the documentation leads somewhere, and every page is led to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
GENERATED = ROOT / "docs" / "reference" / "api.md"  # full of patterns that look like links


def _links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of each link within the project."""
    if page == GENERATED:
        return []
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    split = [link.partition("#") for link in found if not link.startswith("http")]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in split]


def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _links(page):
        assert target.exists(), target
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), (target.name, anchor)


def test_every_page_is_reached_from_the_readme() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen:
            seen.add(page)
            ahead += [target for target, _ in _links(page) if target.suffix == ".md"]
    assert set(PAGES) - seen == set()


def test_what_money_depends_on_is_one_click_away() -> None:
    near = {target.relative_to(ROOT).as_posix() for target, _ in _links(ROOT / "README.md")}
    assert {"docs/reference/quotas-bounds.md", "docs/how-to/budgets.md", "docs/how-to/quota-alerts.md"} <= near
    assert {"docs/runbooks/quota-exhausted.md", "docs/runbooks/store-unavailable.md"} <= near
