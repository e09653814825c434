"""`python -m musclemap_jax.predict --camera=...` as a process, and the arguments that it refuses."""

import signal
import sys

import av
import numpy as np
import pytest

from musclemap_jax.data.raw.video import encode_video
from musclemap_jax.predict.__main__ import main
from musclemap_jax.predict.model_folder import save_model
from musclemap_jax.predict.outputs import read_muscles
from tests.conftest import ROOT
from tests.predict.videos import write_video
from tests.processes import wait_for_line

REFUSED = {
    "--pace=full_speed": "--pace: is for a video file played as a camera: pass --camera=FILE",
    "--camera=squat.mp4 other.mp4": "--camera: goes without videos, got other.mp4: leave one of them out",
    "--camera=squat.mp4 --annotate": "--annotate: is for video files, got --camera: leave one of them out",
    "--camera=squat.mp4 --skeleton=a.json": "--skeleton: is for video files, got --camera: leave one of them out",
    "--camera=squat.mp4 --expect=squat": "--expect: is for video files, got --camera: leave one of them out",
    "--camera=squat.mp4 --explain=top": "--explain: is for video files, got --camera: leave one of them out",
    "--camera=squat.mp4 --person=all": (
        "--person=all: a camera is answered for one person or all together: pass a number"
    ),
    "--camera=absent.mp4": (
        "--camera=absent.mp4: expected a camera or a video file, absent.mp4 is none: this machine has no camera that "
        "Linux knows"
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("musclemap_jax.predict.live.camera._DEVICES", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("arguments", "message"), REFUSED.items(), ids=list(REFUSED))
def test_contradictions_are_one_line(here, capsys, arguments, message):
    write_video(here / "squat.mp4")
    assert main(arguments.split()) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


@pytest.fixture
def start(here, processes, tiny_stored_model, monkeypatch):
    """A function (*arguments) that starts the command with the tiny model."""
    save_model(here / "model", tiny_stored_model)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    command = [sys.executable, "-m", "musclemap_jax.predict", "--run=model", "--pose=none", "--out=out"]
    return lambda *arguments: processes.start(*command, *arguments)


def test_a_file_is_answered_to_its_end_and_the_answers_are_kept(here, start):
    write_video(here / "squat.mp4", num_frames=100, fps=60)
    process = start("--camera=squat.mp4", "--pace=full_speed", "--overlap=0")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    first, last = output.splitlines()
    assert first.startswith("0.0-1.7 s: ")
    assert last == "results: out/squat"
    assert sorted(path.name for path in (here / "out" / "squat").iterdir()) == ["muscles.csv", "muscles.json"]
    (prediction,) = read_muscles(here / "out" / "squat" / "muscles.json")
    assert (prediction.source, len(prediction.times_s)) == ("squat.mp4", 1)


def test_ctrl_c_is_how_a_camera_ends(here, start):
    write_video(here / "squat.mp4", num_frames=2400, fps=60)
    process = start("--camera=squat.mp4")
    wait_for_line(process.stdout, " s old")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[-1] == "results: out/squat"
    (prediction,) = read_muscles(here / "out" / "squat" / "muscles.json")
    assert 1 <= len(prediction.times_s) < 40


@pytest.fixture
def broken_video(here):
    """A video of 150 frames whose packet 140 is damaged, which shows when it is decoded."""
    path = here / "broken.mp4"
    encode_video(path, np.random.default_rng(0).integers(0, 256, (150, 64, 96, 3), np.uint8), 60.0)
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[140]
    content = bytearray(path.read_bytes())
    content[packet.pos + 20 : packet.pos + packet.size] = bytes([255]) * (packet.size - 20)
    path.write_bytes(content)
    return path


def test_a_video_that_breaks_is_one_line_and_what_was_answered_is_kept(here, start, broken_video):
    process = start(f"--camera={broken_video}", "--pace=full_speed")
    output, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith(f"error: --camera={broken_video}: ")
    assert len(errors.splitlines()) == 1
    assert output.splitlines()[-1] == f"results: out/{broken_video.stem}"
