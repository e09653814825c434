"""The site of the documentation: complete, and without dead links inside docs/."""

import re

import pytest
import yaml

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages_of(entry):
    """All pages below an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for child in (entry.values() if isinstance(entry, dict) else entry) for page in pages_of(child)]


def test_every_page_is_in_the_navigation():
    assert sorted(pages_of(SETTINGS["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_every_room_has_its_page_of_the_api():
    rooms = {path.parent.name for path in (ROOT / "musclemap_jax").glob("*/__init__.py")} | {"tfds_musclemap"}
    assert {page.stem for page in (DOCS / "api").glob("*.md")} - {"index"} == rooms
    listed = set(re.findall(r"\]\((\w+)\.md\)", (DOCS / "api" / "index.md").read_text()))
    assert listed == rooms


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_to_files_of_the_site(page):
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if not link.startswith("https://")]
    assert [link for link in links if not (page.parent / link).is_file()] == []
    assert all((page.parent / link).resolve().is_relative_to(DOCS) for link in links)


def test_nothing_is_loaded_from_elsewhere():
    assert SETTINGS["theme"]["font"] is False
    assert {name for plugin in SETTINGS["plugins"] for name in ([plugin] if isinstance(plugin, str) else plugin)} <= {
        "search",
        "mkdocstrings",
    }
