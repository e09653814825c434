"""Small raw data sets of real mp4 and JSON files for the builder's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from musclemap_jax import taxonomy
from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import write_alphapose

NUM_FRAMES, HEIGHT, WIDTH, FPS = 6, 32, 48, 12.0


def clip_frames(number: int) -> np.ndarray:
    """(T, H, W, 3) uint8: smooth and moving, other colours for each number."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    times = np.arange(NUM_FRAMES)[:, None, None]
    waves = [
        np.sin(columns / 8 + times / 3 + number),
        np.sin(rows / 6 + 0 * times),
        np.sin((rows + times) / 9 - number),
    ]
    return (128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def clip_skeleton(number: int, num_joints: int = 17, num_persons: int = 2) -> np.ndarray:
    """(T, P, V, 3): the first person larger than the second; frame 2 is empty."""
    rng = np.random.default_rng(number)
    skeleton = rng.uniform(0.2, 1.0, (NUM_FRAMES, num_persons, num_joints, 3))
    skeleton[..., 0] *= WIDTH / (1 + np.arange(num_persons))[:, None]
    skeleton[..., 1] *= HEIGHT / (1 + np.arange(num_persons))[:, None]
    skeleton[2] = 0
    return skeleton.round(2)


def _write_raw_dataset(root: Path, clips_per_split: int = 2) -> list[raw_dataset.Clip]:
    clips = []
    for split in taxonomy.SPLITS:
        for index in range(clips_per_split):
            number = len(clips)
            place = index + clips_per_split * (split in taxonomy.NEW_SPLITS)
            clip = raw_dataset.Clip(
                clip_id=f"{split}_{index}",
                split=split,
                activity=f"{'new' if split in taxonomy.NEW_SPLITS else 'known'} {index}",
                muscles=tuple(sorted({place % 20, (7 * place + 3) % 20})),
            )
            clips.append(clip)
            video_path = raw_dataset.video_path(root, clip.clip_id)
            skeleton_path = raw_dataset.skeleton_path(root, clip.clip_id)
            video_path.parent.mkdir(parents=True, exist_ok=True)
            skeleton_path.parent.mkdir(parents=True, exist_ok=True)
            video.encode_video(video_path, clip_frames(number), FPS, crf=10)
            write_alphapose(skeleton_path, clip_skeleton(number))
    raw_dataset.write_annotations(root, clips)
    return clips


@pytest.fixture
def folder(tmp_path):
    """A raw data set of 10 clips, 2 a split, that the test may damage."""
    _write_raw_dataset(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """(raw data set's folder, builder) of an undamaged raw data set, prepared once; not to be changed."""
    from tfds_musclemap.prepare import prepare

    root = tmp_path_factory.mktemp("prepared")
    _write_raw_dataset(root / "raw")
    return root / "raw", prepare("multimodal", root / "data", root / "raw", num_workers=1)


@pytest.fixture
def example():
    """Functions that give the frames and the skeleton of the clip with a number (its place in the annotations)."""
    return clip_frames, clip_skeleton
