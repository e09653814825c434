"""One word for one thing, in names and in prose: only rules without exceptions in meaning."""

import re

import pytest

from tests.conftest import ROOT

FOLDERS = ("benchmarks", "configs", "docs", "launch", "musclemap_jax", "tests", "tfds_musclemap", "tools")
SUFFIXES = {"", ".cfg", ".css", ".html", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
LINES = [
    (str(path.relative_to(ROOT)), number, line)
    for path in [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    if path.is_file() and path.suffix in SUFFIXES and path.name != "test_words.py" and "LICENSE" not in path.name
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
]

STATISTICS = re.compile(r"(normal|probability|Gaussian|uniform|empirical) distribution", re.IGNORECASE)
OLD_NAMES = "CHANGELOG.md"
"""The file that says what was renamed."""

BETTER = {
    r"auxiliary": "second branch",
    r"figures|_figure\b|\bfigure_": "metrics (numbers) or plots (pictures)",
    r"_shares?\b|\b(the|stated|largest) share\b|\bshare_of|\bshare of\b": "fraction",
    r"\bgone on with|\bgo(es)? on from|\bgoing on from": "resumed, resumes",
    r"\banew\b": "again",
    r"\bat fault\b": "invalid",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bthat (is|are) none\b": "malformed",
    r"\b(in|of|after|until|with|for) so many\b": "a number with a name",
}
"""Pattern -> what to write instead."""


def _check(pattern, advice, allowed=None):
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, number, line in LINES
        if re.search(pattern, allowed.sub("", line) if allowed else line, re.IGNORECASE) and name != OLD_NAMES
    ]
    if found:
        pytest.fail("\n".join([f"write {advice}:", *found]), pytrace=False)


def test_the_word_distribution_is_for_statistics():
    _check("(?<!re)distribution", "raw data set", STATISTICS)


@pytest.mark.parametrize(("pattern", "advice"), BETTER.items(), ids=BETTER.values())
def test_better_words_are_used(pattern, advice):
    _check(pattern, advice)
