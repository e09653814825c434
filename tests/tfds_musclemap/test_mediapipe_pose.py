"""MediaPipe on real video, if MUSCLEMAP_POSE_PYTHON is the Python of its environment (docs/importing.md)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw.raw_dataset import Clip, skeleton_path, video_path, write_annotations
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from tfds_musclemap.extract_skeletons import main

REAL = Path(__file__).parents[1] / "data" / "real"
VIEWS = ("pose2sim_cam01", "pose2sim_cam02")
NUM_FRAMES = 100

PYTHON = os.environ.get("MUSCLEMAP_POSE_PYTHON")


@pytest.mark.skipif(not PYTHON, reason="MUSCLEMAP_POSE_PYTHON is not set to a Python with MediaPipe")
def test_joints_agree_with_those_of_the_test_data(tmp_path):
    """The stored joints are MediaPipe's too, found on smaller frames of 480 pixels in height."""
    write_annotations(tmp_path, [Clip(view, "train", "balance", (13, 14)) for view in VIEWS])
    for view in VIEWS:
        video_path(tmp_path, view).parent.mkdir(exist_ok=True)
        shutil.copy(REAL / f"{view}.mp4", video_path(tmp_path, view))
    assert main([f"--raw_dir={tmp_path}", f"--estimator_python={PYTHON}", "--num_workers=2"]) == 0
    for view in VIEWS:
        skeleton = read_alphapose(skeleton_path(tmp_path, view), "coco17", NUM_FRAMES)[:, 0]
        stored = read_alphapose(REAL / f"{view}.json", "coco17", NUM_FRAMES)[:, 0]
        assert skeleton.any(axis=(1, 2)).all()
        distances = np.linalg.norm(skeleton[..., :2] - stored[..., :2], axis=-1)
        heights = np.ptp(stored[..., 1], axis=1)
        assert np.median(distances / heights[:, None]) < 0.01
