"""Cameras: files played as one, pipes, and what is no camera. No test has a real device."""

import re
import time

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.predict.live import camera
from musclemap_jax.predict.live.camera import FULL_SPEED, REAL_TIME, Grid, open_camera
from tests.predict.videos import FPS, write_audio, write_video


@pytest.mark.parametrize(
    ("times", "places"),
    [
        ([5.0, 5.1, 5.2, 5.3], [0, 1, 2, 3]),
        ([0.0, 0.17, 0.13, 0.3], [0, 1, 2, 3]),  # one is late, one early
        ([0.0, 0.18, 0.3, 0.9], [0, 2, 3, 9]),  # the second place, and those from the fourth on, are empty
        ([0.0, 0.05, 0.1, 0.15, 0.2], [0, 1, None, 2, None]),  # twice as fast as the grid
        ([9.0, 9.1, 2.0, 2.1, 2.3], [0, 1, 2, 3, 5]),  # the clock was set back
    ],
)
def test_a_frame_takes_the_next_place_unless_its_time_contradicts(times, places):
    grid = Grid(10.0)
    assert [grid.place(time_s) for time_s in times] == places


def test_a_file_is_played_in_real_time_or_at_full_speed(tmp_path):
    path = write_video(tmp_path / "squat.mp4", num_frames=8)
    played = open_camera(str(path), REAL_TIME)
    assert (played.fps, played.source_size, played.drops) == (FPS, (32, 48), True)
    start = time.monotonic()
    frames = list(played.frames)
    assert [frame.place for frame in frames] == list(range(8))
    assert time.monotonic() - start >= 7 / FPS
    assert frames[7].filmed_at - frames[0].filmed_at == pytest.approx(7 / FPS)
    fast = open_camera(str(path), FULL_SPEED)
    assert not fast.drops
    assert len(list(fast.frames)) == 8


def test_a_pipe_is_a_camera_that_stops_when_it_ends(tmp_path, pipe):
    path = pipe(write_video(tmp_path / "source.mkv").read_bytes(), ends=True)
    opened = open_camera(str(path))
    assert (opened.source_size, opened.drops) == ((32, 48), True)
    assert [next(opened.frames).place for _ in range(25)] == list(range(25))
    with pytest.raises(UserError, match=rf"--camera={path}: the camera stopped: it ended after 2\.5 s"):
        next(opened.frames)


def test_a_pipe_that_sends_nothing_does_not_open(monkeypatch, pipe):
    monkeypatch.setattr(camera, "_OPEN_TIMEOUT_S", 0.2)
    path = pipe(b"", ends=False)
    with pytest.raises(UserError, match=r"the camera does not open: nothing came for 0\.2 s"):
        open_camera(str(path))


def test_what_is_no_camera_is_refused_with_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(camera, "_DEVICES", tmp_path)
    missing = f"--camera=7: expected a camera or a video file, {tmp_path}/video7 is none: "
    with pytest.raises(UserError, match=re.escape(missing + "this machine has no camera that Linux knows")):
        open_camera("7")
    (tmp_path / "video0").touch()
    with pytest.raises(UserError, match=re.escape(f"{missing}there is {tmp_path}/video0")):
        open_camera("7")
    with pytest.raises(UserError, match="expected a camera or a video file"):
        open_camera(str(tmp_path))


def test_a_device_that_is_no_camera_does_not_open():
    with pytest.raises(UserError, match=r"^--camera=/dev/null: the camera does not open: "):
        open_camera("/dev/null")


def test_files_that_are_no_videos_are_refused(tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(UserError, match=r"--camera=.*notes\.mp4: cannot be decoded"):
        open_camera(str(tmp_path / "notes.mp4"))
    with pytest.raises(UserError, match=r"--camera=.*sound\.mp4: no video stream"):
        open_camera(str(write_audio(tmp_path / "sound.mp4")))
