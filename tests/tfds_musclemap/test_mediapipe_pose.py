"""Skeletons by MediaPipe of a real video, in this environment and with the installed model: nothing to set up."""

from __future__ import annotations

import shutil

import av
import numpy as np
import pytest

from musclemap_jax.data.raw.raw_dataset import Clip, skeleton_path, video_path, write_annotations
from musclemap_jax.data.raw.video import read_video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.pose.mediapipe_pose import open_estimator
from musclemap_jax.skeleton_layouts import convert
from tests.conftest import ROOT
from tests.data.raw.clips import with_matrix, write_clip
from tfds_musclemap.extract_skeletons import main

REAL = ROOT / "tests" / "data" / "real"
VIEW = "pose2sim_cam01"
NUM_FRAMES, FPS = 100, 60

pytestmark = pytest.mark.pose


@pytest.fixture(scope="module")
def skeleton(pose_model, tmp_path_factory):
    """(T, 17, 3) joints that the command has found in a real clip."""
    root = tmp_path_factory.mktemp("raw")
    write_annotations(root, [Clip(VIEW, "train", "balance", (13, 14))])
    video_path(root, VIEW).parent.mkdir()
    shutil.copy(REAL / f"{VIEW}.mp4", video_path(root, VIEW))
    assert main([f"--raw_dir={root}"]) == 0
    found = read_alphapose(skeleton_path(root, VIEW), "coco17", NUM_FRAMES)
    assert found.shape == (NUM_FRAMES, 1, 17, 3)
    return found[:, 0]


def test_joints_agree_with_those_of_the_test_data(skeleton):
    """The stored joints are MediaPipe's too, found on smaller frames of 480 pixels in height."""
    stored = read_alphapose(REAL / f"{VIEW}.json", "coco17", NUM_FRAMES)[:, 0]
    assert skeleton.any(axis=(1, 2)).all()
    distances = np.linalg.norm(skeleton[..., :2] - stored[..., :2], axis=-1)
    heights = np.ptp(stored[..., 1], axis=1)
    assert np.median(distances / heights[:, None]) < 0.01


def test_the_estimators_process_sees_what_the_builder_stores(tmp_path):
    """A mirrored video with a variable frame rate: every frame of it once, at its time."""
    pytest.importorskip("mediapipe")
    from tfds_musclemap.pose_estimators.mediapipe_pose import frames

    times = [0, 0.1, 0.2, 0.3, 0.32, 0.34, 0.36, 0.38]
    plain = write_clip(tmp_path / "plain.mp4", range(8), times_s=times)
    path = with_matrix(plain, (-1, 0, 0, 1), tmp_path / "mirrored.mp4")
    images, times_ms = zip(*frames(path), strict=True)
    np.testing.assert_array_equal(np.stack(images), np.stack(list(read_video(path, by_time=False).frames)))
    np.testing.assert_array_equal(images[0][:, ::-1], next(read_video(plain).frames))
    assert times_ms == tuple(round(1000 * time) for time in times)


def test_the_estimator_of_this_process_finds_the_same_joints(skeleton, pose_model):
    with open_estimator(pose_model) as estimator, av.open(str(REAL / f"{VIEW}.mp4")) as container:
        for number, frame in zip(range(20), container.decode(video=0), strict=False):
            (person,) = estimator.detect(frame.to_ndarray(format="rgb24"), number / FPS)
            joints = convert(person.joints, estimator.layout, "coco17")
            np.testing.assert_allclose(joints, skeleton[number], atol=0.006)  # the file has 0.01 pixels
