"""The documentation: its commands exist, and its site is complete and without dead links."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT
from tests.documented_commands import DOCUMENTS, python_commands

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
COMMANDS = python_commands(*DOCUMENTS)
MODULES = sorted({command[2] for command in COMMANDS})


def test_there_are_commands():
    expected = {"prepare", "verify", "import_release", "import_skeletons", "extract_skeletons"}
    assert {f"tfds_musclemap.{command}" for command in expected} <= set(MODULES)
    expected = {"main", "study", "synthetic", "compile_ahead", "pretrained", "pretrained.export"}
    assert {f"musclemap_jax.{command}" for command in expected} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_command_knows_its_flags(module):
    process = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    # absl's --help ends with status 1.
    assert process.returncode == (1 if "--helpfull" in process.stdout else 0), process.stderr
    words = {word.partition("=")[0] for command in COMMANDS if command[2] == module for word in command[3:]}
    # Overrides of configuration keys are checked where the runs are resolved.
    shown = {word for word in words if word.startswith("--") and "." not in word}
    assert [flag for flag in shown if flag not in process.stdout] == []


def test_every_configuration_exists():
    words = [word for command in COMMANDS for word in command if re.match(r"--config=.*\.py", word)]
    files = {word.partition("=")[2].partition(":")[0] for word in words}
    shown = {file for page in DOCUMENTS for file in re.findall(r"```python\n# (configs/\w+\.py)\n", page.read_text())}
    assert [file for file in files - shown if not (ROOT / file).is_file()] == []


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
