"""The arguments of every command: the home folder, and errors of one line."""

import importlib
import re

import pytest

from musclemap_jax.arguments import expand_home
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("argument", "expanded"),
    [
        ("--workdir=~/runs/a", "--workdir=/home/me/runs/a"),
        ("--config.init_from.video=~/runs/b", "--config.init_from.video=/home/me/runs/b"),
        ("~/squat.mp4", "/home/me/squat.mp4"),
        ("-o=~", "-o=/home/me"),
        ("--name=a~b", "--name=a~b"),
        ("--workdir=gs://bucket/~/run", "--workdir=gs://bucket/~/run"),
        ("squat~.mp4", "squat~.mp4"),
    ],
)
def test_the_home_folder_is_expanded_at_the_beginning_of_a_value(argument, expanded, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home(["--mode=eval", argument]) == ["--mode=eval", expanded]
    monkeypatch.setattr("sys.argv", ["command", argument])
    assert expand_home() == [expanded]


def test_every_command_does_so():
    calls = [
        (path, call)
        for package in ("musclemap_jax", "tfds_musclemap")
        for path in (ROOT / package).rglob("*.py")
        if path.parent.name != "pose_estimators"  # programs that extract_skeletons starts
        for call in re.findall(r"parse_args\((\w*)|flags\.FLAGS\((.*)", path.read_text())
    ]
    assert len(calls) > 10
    assert [path for path, call in calls if "expand_home" not in "".join(call)] == []


@pytest.mark.parametrize(
    "module",
    [
        "musclemap_jax.predict.export",
        "musclemap_jax.synthetic.__main__",
        "tfds_musclemap.extract_skeletons",
        "tfds_musclemap.import_release",
        "tfds_musclemap.import_skeletons",
        "tfds_musclemap.prepare",
        "tfds_musclemap.verify.__main__",
    ],
)
def test_a_wrong_argument_is_one_line(module, capsys):
    assert importlib.import_module(module).main(["--no_such_option"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"error: the following arguments are required: .*: see --help", line)
