"""Names as text and as folders, hostile ones too."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from musclemap_jax.predict.names import folder_name, folder_names, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("squat.mp4", "squat"),
        ("Kniebeuge für alle (2).MOV", "Kniebeuge für alle (2)"),
        ("--run=x.mp4", "_-run_x"),
        (".hidden.mp4", "_hidden"),
        ("...mp4", "__"),
        ("a\nb\x1b[31m.mp4", "a_b__31m"),
        (os.fsdecode(b"caf\xe9.mp4"), "caf_"),
        ("con|aux?*.mp4", "con_aux__"),
        ("x" * 250 + ".mp4", "x" * 100),
        ("ü" * 120 + ".mp4", "ü" * 50),
        ("trailing. .mp4", "trailing._"),
    ],
)
def test_folders_have_safe_names(name, expected):
    assert folder_name(name) == expected


@hypothesis.given(strategies.binary(min_size=1, max_size=255))
def test_a_folder_name_is_one_part_of_a_path(data):
    name = folder_name(os.fsdecode(data.replace(b"\0", b"").replace(b"/", b"") or b"x"))
    assert Path(name).name == name
    assert name.isprintable()
    assert not name.startswith(("-", "."))
    assert 1 <= len(name.encode()) <= 100


def test_equal_names_are_told_apart_in_any_order():
    paths = [Path("a/squat.mp4"), Path("b/Squat.mov"), Path("b/lunge.mp4"), Path("a/squat.mkv")]
    names = folder_names(paths)
    assert names[2] == "lunge"
    assert len({name.casefold() for name in names}) == 4
    assert all(name.casefold().startswith("squat-") for name in (names[0], names[1], names[3]))
    assert folder_names(paths[::-1]) == names[::-1]
    assert folder_names([path.absolute() for path in paths]) == names
    assert folder_names(paths[:1]) == ["squat"]


def test_what_does_not_print_is_escaped():
    assert shown(os.fsdecode(b"caf\xe9\n\x1b[31m.mp4")) == r"caf\xe9\n\x1b[31m.mp4"
    assert shown("Kniebeuge für alle.mp4") == "Kniebeuge für alle.mp4"
    assert shown("gpj\u202e4pm.mp4") == r"gpj\u202e4pm.mp4"
