"""A disk that fills up while a checkpoint is written: a real one, small, in its own mount namespace."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MOUNT = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"'
"""Mounts a disk of the first argument's size at the second, and runs the rest."""

NEEDS_A_DISK = pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode != 0,
    reason="needs user namespaces, to mount a small disk",
)


def with_disk(size, folder):
    """The command that runs another one with a disk of a size, such as 2m, at the folder."""
    return ["unshare", "-Urm", "sh", "-c", MOUNT, size, str(folder)]


SAVES = """
import sys
import jax, numpy as np
from pathlib import Path
from musclemap_jax.errors import exit_on_user_error
from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState

class Position:
    def get_state(self):
        return {"place": 3}

def state(step, size):
    noise = np.random.default_rng(step).random(size, np.float32)
    return jax.device_put(TrainState(np.int32(step), {"video": noise}, {}, (), None, np.int32(0), np.uint32(0)))

def body():
    checkpointer = Checkpointer(sys.argv[1], keep=1)
    checkpointer.save(state(1, 1000), Position())
    checkpointer.wait()
    try:
        checkpointer.save(state(2, 2_000_000), Position())
        checkpointer.wait()
    finally:
        again = Checkpointer(sys.argv[1])
        sharding = jax.tree.map(lambda leaf: leaf.sharding, state(1, 1000))
        restored = again.restore(state(1, 1000), sharding)
        assert np.array_equal(restored.params["video"], state(1, 1000).params["video"])
        print("left:", sorted(path.name for path in again.directory.iterdir()))

sys.exit(exit_on_user_error(body))
"""


@NEEDS_A_DISK
def test_a_full_disk_keeps_the_previous_checkpoint_and_says_so(tmp_path):
    command = [*with_disk("2m", tmp_path), sys.executable, "-c", SAVES, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert process.returncode == 2, process.stderr
    assert process.stdout.strip() == "left: ['1']"
    line = process.stderr.strip().splitlines()[-1]
    assert f"error: {tmp_path}/checkpoints: the disk was full while a checkpoint was written" in line
    assert "the checkpoint of step 1 is kept: free some space and run the same command" in line


@NEEDS_A_DISK
def test_a_run_on_a_full_disk_ends_with_one_line(run_main, smoke_data, tmp_path):
    process = run_main(
        "--config=configs/hdgcn.py:smoke",
        f"--config.data.data_dir={smoke_data}",
        "--config.train.num_steps=500",
        "--config.train.checkpoint_every=2",
        "--config.train.keep_checkpoints=500",
        f"--workdir={tmp_path / 'run'}",
        under=with_disk("2m", tmp_path),
    )
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    line = errors.replace("\r", "\n").strip().splitlines()[-1]
    assert line.startswith(
        f"error: {tmp_path}/run/checkpoints: the disk was full while a checkpoint was written; the ch"
    )
    assert re.search(r"the checkpoint of step \d+ is kept: free some space and run the same command to resume", line)
