"""The commands in docs/importing.md: each module takes the options that are written there, and answers --help."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from tfds_musclemap.extract_skeletons import estimator_command

DOCS = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("python -m ")
]


def test_there_are_commands_of_each_module():
    modules = {command[2].rpartition(".")[2] for command in COMMANDS}
    assert modules == {"import_release", "import_skeletons", "extract_skeletons"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[2:4]))
def test_every_option_exists(command):
    arguments = importlib.import_module(command[2])._parser().parse_args(command[3:])
    assert arguments


@pytest.mark.parametrize("module", ["import_release", "import_skeletons", "extract_skeletons"])
def test_help_names_every_option_of_the_text(module, capsys):
    with pytest.raises(SystemExit) as error:
        importlib.import_module(f"tfds_musclemap.{module}").main(["--help"])
    assert error.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        if command[2].endswith(module):
            assert all(option.partition("=")[0] in text for option in command[3:])


def test_mediapipe_is_the_named_estimator():
    command = estimator_command("mediapipe", "pose/bin/python", "--model='a file.task'")
    assert command[0] == "pose/bin/python"
    assert Path(command[1]).is_file()
    assert command[2:] == ["--model=a file.task"]
