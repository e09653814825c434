"""The command as a process: what it leaves when it is interrupted or the disk is full. The answers are made up."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from musclemap_jax.predict.model_folder import save_model
from tests.conftest import ROOT
from tests.predict.videos import write_video

COMMAND = """
import os, sys
from tests.predict import fake_model
from musclemap_jax.predict.__main__ import main
fake_model.install()
status = main()
print("left:", sorted(os.listdir("muscles")))
sys.exit(status)
"""
TIMEOUT_S = 60
MOUNT = 'mkdir -p muscles && mount -t tmpfs -o size="$0" none muscles && exec "$@"'


def start(folder, *command):
    """Starts a command that Ctrl-C reaches, even where this process was started in the background, without it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # an ignored signal stays ignored in a child
    try:
        return subprocess.Popen(command, cwd=folder, env=environment, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def stop_at(process, pattern, stop=signal.SIGINT, delay_s=0.0):
    """Sends a signal once there is a file of that pattern; returns what the process writes then."""
    give_up = time.monotonic() + TIMEOUT_S
    while not glob.glob(str(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)
    time.sleep(delay_s)
    process.send_signal(stop)
    return process.communicate(timeout=TIMEOUT_S)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_leaves_nothing_and_the_finished_ones_stay(tmp_path, stop):
    write_video(tmp_path / "a.mp4", num_frames=10)
    write_video(tmp_path / "b.mp4", num_frames=400)
    (tmp_path / "slow").touch()
    process = start(tmp_path, sys.executable, "-c", COMMAND, "a.mp4", "b.mp4")
    output, errors = stop_at(process, tmp_path / "muscles" / ".b.*.unfinished", stop)
    assert (process.returncode, errors) == (130, "")
    assert "results: muscles/a" in output
    assert output.endswith("left: ['a']\n")


def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=10)
    write_video(tmp_path / "b.mp4", num_frames=400)
    (tmp_path / "slow").touch()
    process = start(tmp_path, sys.executable, "-c", COMMAND, "b.mp4")
    stop_at(process, tmp_path / "muscles" / ".b.*.unfinished", signal.SIGKILL)
    assert len(list((tmp_path / "muscles").iterdir())) == 1
    (tmp_path / "slow").unlink()
    output, errors = start(tmp_path, sys.executable, "-c", COMMAND, "a.mp4").communicate(timeout=TIMEOUT_S)
    assert errors == ""
    assert output.endswith("left: ['a']\n")


@pytest.mark.parametrize("delay_s", [0.2, 1.5])
def test_the_real_model_is_interrupted_at_any_time(tmp_path, tiny_stored_model, delay_s):
    """The longer delay is into the compilation; after 4 s a fast machine may be done."""
    save_model(tmp_path / "model", tiny_stored_model)
    write_video(tmp_path / "a.mp4", num_frames=3000, size=(240, 320))
    command = [sys.executable, "-m", "musclemap_jax.predict", "a.mp4", "--run=model", "--pose=none", "--annotate"]
    process = start(tmp_path, *command)
    assert stop_at(process, tmp_path / "muscles" / ".a.*.unfinished", delay_s=delay_s) == ("", "")
    assert process.returncode == 130
    assert not (tmp_path / "muscles").exists()


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode != 0,
    reason="needs user namespaces, to mount a small disk",
)
def test_a_full_disk_is_one_line_and_leaves_the_finished_results(tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=10)
    write_video(tmp_path / "b.mp4", num_frames=800)
    write_video(tmp_path / "c.mp4", num_frames=10)
    arguments = [sys.executable, "-c", COMMAND, "a.mp4", "b.mp4", "c.mp4", "--quiet"]
    process = start(tmp_path, "unshare", "-Urm", "sh", "-c", MOUNT, "160k", *arguments)
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    expected = "error: muscles/b: the results could not be written: No space left on device: "
    assert errors == expected + "free some space or choose another --out\n"
    assert output == "left: ['a']\n"
