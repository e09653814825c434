"""The commands in docs/importing.md: each module takes the options that are written there, and answers --help."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documented_commands import python_commands
from tfds_musclemap.extract_skeletons import estimator_command

COMMANDS = [
    command
    for command in python_commands(ROOT / "docs" / "importing.md")
    if command[2].startswith("tfds_musclemap.") and command[3:]
]


def test_there_are_commands_of_each_module():
    modules = {command[2].rpartition(".")[2] for command in COMMANDS}
    assert modules == {"import_release", "import_skeletons", "extract_skeletons"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[2:4]))
def test_every_option_exists(command):
    arguments = importlib.import_module(command[2])._parser().parse_args(command[3:])
    assert arguments


def test_mediapipe_is_the_named_estimator(tmp_path):
    model = tmp_path / "a file.task"
    model.touch()
    command = estimator_command("mediapipe", "pose/bin/python", "--num_persons=2", str(model))
    assert command[0] == "pose/bin/python"
    assert Path(command[1]).is_file()
    assert command[2:] == [f"--model={model}", "--num_persons=2"]
