"""What a killed process left is removed by the next one; what a living one writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from musclemap_jax.predict.output_folder import results_folder
from musclemap_jax.predict.unfinished import remove_abandoned, unfinished
from tests.conftest import ROOT
from tests.predict.test_output_folder import names

OWNER = """
import sys
from pathlib import Path
from musclemap_jax.predict.output_folder import results_folder
with results_folder(Path(sys.argv[1])) as folder:
    (folder / "muscles.json").write_text("half")
    print(folder.name, flush=True)
    sys.stdin.read()
"""
TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def owner(tmp_path):
    """A process that writes the results `squat`."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "squat")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes)
    process.name = process.stdout.readline().strip()
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_left_is_removed_and_nothing_before(owner, tmp_path):
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [owner.name]
    assert owner.name.startswith(".squat.")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert names(tmp_path) == [owner.name]
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_a_living_process_finishes_beside_a_second_one(owner, tmp_path):
    with results_folder(tmp_path / "lunge") as folder:
        remove_abandoned(tmp_path)
        assert names(tmp_path) == sorted([owner.name, folder.name])
    owner.communicate("")
    assert names(tmp_path) == ["lunge", "squat"]


def test_files_are_removed_too(tmp_path):
    with unfinished(tmp_path / "muscles.csv", Path.touch) as path:
        remove_abandoned(tmp_path)
        assert names(tmp_path) == [path.name]
    remove_abandoned(tmp_path)  # the owner has ended without moving it
    assert names(tmp_path) == []


def test_a_process_killed_between_moving_the_old_and_the_new_folder_is_completed(tmp_path):
    for kind, text in (("unfinished", "new"), ("replaced", "old")):
        folder = tmp_path / f".squat.{TOKEN}.{kind}"
        folder.mkdir()
        (folder / "muscles.json").write_text(text)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["squat"]
    assert (tmp_path / "squat" / "muscles.json").read_text() == "new"


@pytest.mark.parametrize(
    "name", [".squat.unfinished", "squat.0123.unfinished", f"squat.{TOKEN}.unfinished", f".squat.{TOKEN}.old", ".notes"]
)
def test_other_files_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / f".link.{TOKEN}.unfinished").symlink_to(tmp_path / name)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == sorted([name, f".link.{TOKEN}.unfinished"])


def test_a_folder_that_does_not_exist_is_clean(tmp_path):
    remove_abandoned(tmp_path / "absent")
    assert names(tmp_path) == []
