"""The commands that README, docs/ and benchmarks/ show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]


def python_commands(*documents: Path) -> list[list[str]]:
    """Words of each `python -m` command that runs a module of this repository, in blocks and in running text."""
    found = []
    for document in documents:
        text = re.sub(r"\\\n\s*", "", document.read_text())
        for command in re.findall(r"python -m (?:musclemap_jax|tfds_musclemap|benchmarks|tools|tests)\b[^`\n]*", text):
            words = command.partition(" > ")[0].partition("  #")[0]  # without redirection and comment
            found.append(shlex.split(words, comments=True))
    return found
