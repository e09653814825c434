"""MediaPipe in this process: real people in real video, a silent terminal, and what is said where it is missing."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys

import av
import numpy as np
import pytest

from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.pose import bundle
from musclemap_jax.pose.mediapipe_pose import installed_model, open_estimator
from musclemap_jax.skeleton_layouts import LAYOUTS, convert
from tests.conftest import ROOT

REAL = ROOT / "tests" / "data" / "real"
FPS = 60


def frames(view, num_frames):
    with av.open(str(REAL / f"{view}.mp4")) as container:
        decoded = itertools.islice(container.decode(video=0), num_frames)
        return [frame.to_ndarray(format="rgb24") for frame in decoded]


def detect(estimator, images):
    return [estimator.detect(image, number / FPS) for number, image in enumerate(images)]


@pytest.mark.pose
@pytest.mark.parametrize("view", ["pose2sim_cam01", "pose2sim_cam02"])
def test_joints_agree_with_those_of_the_test_data(pose_model, view):
    """The stored joints are MediaPipe's too: those of release 0.10.21, found on smaller frames."""
    with open_estimator(pose_model) as estimator:
        found = detect(estimator, frames(view, 30))
    assert [len(persons) for persons in found] == [1] * 30
    joints = np.stack([persons[0].joints for persons in found])
    assert joints.shape == (30, LAYOUTS[estimator.layout].num_joints, 3)
    assert joints.dtype == np.float32
    stored = read_alphapose(REAL / f"{view}.json", "coco17", 100)[:30, 0]
    distances = np.linalg.norm(convert(joints, estimator.layout, "coco17")[..., :2] - stored[..., :2], axis=-1)
    heights = np.ptp(stored[..., 1], axis=1)
    assert np.median(distances / heights[:, None]) < 0.01
    assert np.median([persons[0].score for persons in found]) > 0.8


@pytest.mark.pose
def test_several_persons_up_to_the_number_asked_for(pose_model):
    half = [image[::2, ::2] for image in frames("pose2sim_cam01", 12)]  # of 530 pixels in width
    both = [np.concatenate([image, image], axis=1) for image in half]
    with open_estimator(pose_model, num_persons=2) as estimator:
        persons = detect(estimator, both)[-1]
    assert sorted(person.joints[:, 0].mean() // 530 for person in persons) == [0, 1]
    with open_estimator(pose_model) as estimator:
        assert len(detect(estimator, both)[-1]) == 1


@pytest.mark.pose
def test_nobody_is_found_in_an_empty_room_and_equal_times_are_taken(pose_model):
    with open_estimator(pose_model) as estimator:
        assert [estimator.detect(np.full((90, 160, 3), 127, np.uint8), 0.0) for _ in range(3)] == [[], [], []]


@pytest.mark.pose
def test_the_log_of_mediapipe_stays_off_the_terminal(pose_model, capfd):
    with open_estimator(pose_model) as estimator:
        assert detect(estimator, frames("pose2sim_cam01", 3))[-1]
    assert capfd.readouterr() == ("", "")


USE = """
import sys
import numpy as np
from musclemap_jax.pose.mediapipe_pose import open_estimator
with open_estimator(sys.argv[1]) as estimator:
    for number in range(3):
        estimator.detect(np.full((90, 160, 3), 127, np.uint8), number / 60)
print(estimator.name)
"""


@pytest.mark.pose
def test_nothing_is_sent_anywhere_and_tensorflow_is_not_imported(pose_model, tmp_path):
    """Later releases of MediaPipe report their use to its makers: a proxy would be asked for the connection."""
    (tmp_path / "tensorflow.py").write_text("raise AssertionError('imported')")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = os.environ | dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"), address)
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{tmp_path}"
        command = [sys.executable, "-c", USE, str(pose_model)]
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert process.stdout.startswith("MediaPipe Pose "), process.stderr
        assert process.stderr == ""
        proxy.settimeout(1)
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.pose
def test_another_file_than_a_model_is_one_error(pose_model, tmp_path, capfd):
    path = tmp_path / "a.task"
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"a\.task: MediaPipe cannot load the pose model: ") as error:
        open_estimator(path)
    assert "\n" not in str(error.value)
    bundle.write_bundle(path, {"pose_detector.tflite": b"<html>", "pose_landmarks_detector.tflite": b""})
    with pytest.raises(UserError, match=r"a\.task: MediaPipe cannot load the pose model: "):
        open_estimator(path)
    assert capfd.readouterr() == ("", "")


EXTRA = "pip install 'musclemap_jax[pose]'"
INSTALL = "python -m musclemap_jax.predict --install_pose"


@pytest.mark.parametrize(
    ("has_mediapipe", "has_model", "message"),
    [
        (False, False, f"MediaPipe and the pose model are not installed: run {EXTRA} && {INSTALL}"),
        (False, True, f"MediaPipe is not installed: run {EXTRA}"),
        (True, False, f"the pose model is not installed: run {INSTALL}"),
    ],
)
def test_what_is_missing_is_said_with_its_command(monkeypatch, tmp_path, has_mediapipe, has_model, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if has_mediapipe else None)
    if has_model:
        bundle.bundle_path().parent.mkdir(parents=True)
        bundle.bundle_path().touch()
    with pytest.raises(UserError) as error:
        open_estimator()
    assert str(error.value) == f"pose estimation: {message}"


def test_the_users_own_model_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"^--pose_model=\S+/mine\.task: no such file$"):
        installed_model(tmp_path / "mine.task")
    (tmp_path / "mine.task").touch()
    assert installed_model(tmp_path / "mine.task", needs_mediapipe=False) == tmp_path / "mine.task"
