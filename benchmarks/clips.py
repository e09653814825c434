"""Clips for the benchmarks: real video in the usual format, and the data prepared from it.

A clip has 120 frames of 340x256 at 30 fps, h264 with FFmpeg's defaults, like the rescaled clips of the released code.
The images are windows of the two 60 fps views in tests/data/real, every second frame, alternately forwards and
backwards. The skeletons are noise: only their size matters.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import encode_video, read_video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from tfds_musclemap.prepare import load_source, prepare
from tfds_musclemap.source import ClipSource

REAL = Path(__file__).parent.parent / "tests" / "data" / "real"
VIEWS = ("pose2sim_cam01.mp4", "pose2sim_cam02.mp4")

NUM_FRAMES = 120
HEIGHT, WIDTH = 256, 340
FPS = 30


def write_raw_dataset(root: Path, num_clips: int) -> list[str]:
    """Writes a raw data set of training clips, unless it exists.

    Args:
      root: Folder of the raw data set; created if absent.
      num_clips: Number of clips, even: half of them show each view.

    Returns:
      The clip ids.
    """
    if (root / raw_dataset.ANNOTATIONS).exists():
        return [clip.clip_id for clip in raw_dataset.read_annotations(root)]
    for folder in (raw_dataset.CLIPS, raw_dataset.SKELETONS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    clips = []
    for view in VIEWS:
        frames = _half_of_the_frames(view, short_side=1080)
        height, width = frames[0].shape[:2]
        window = round(width * HEIGHT / WIDTH)
        for top in np.linspace(0, height - window, num_clips // len(VIEWS)).astype(int):
            small = [
                cv2.resize(frame[top : top + window], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames
            ]
            there_and_back = small + small[::-1]
            rows = np.arange(NUM_FRAMES) % len(there_and_back)
            clip = raw_dataset.Clip(f"clip{len(clips):03d}", "train", "lateral lunge", (13, 15, 17))
            encode_video(
                raw_dataset.video_path(root, clip.clip_id), (there_and_back[i] for i in rows), FPS, preset="medium"
            )
            skeleton = np.random.default_rng(len(clips)).uniform(1, HEIGHT, (NUM_FRAMES, 1, 17, 3)).astype(np.float32)
            skeleton[..., 2] = 0.9
            write_alphapose(raw_dataset.skeleton_path(root, clip.clip_id), skeleton)
            clips.append(clip)
    raw_dataset.write_annotations(root, clips)
    return [clip.clip_id for clip in clips]


def write_portrait_video(path: Path, seconds: float, width: int) -> Path:
    """Writes the first view, forwards and backwards again and again, `width` pixels wide, at 30 fps."""
    frames = _half_of_the_frames(VIEWS[0], width)
    endless = itertools.cycle(frames + frames[::-1])
    encode_video(path, itertools.islice(endless, round(seconds * FPS)), FPS)
    return path


def _half_of_the_frames(view: str, short_side: int) -> list[np.ndarray]:
    """Every second frame of a view, which has 60 fps."""
    return [np.asarray(frame) for frame in read_video(REAL / view, short_side=short_side).frames][::2]


def prepared_source(data_dir: Path, root: Path) -> ClipSource:
    """Training split of the data prepared from a raw data set, preparing it if needed."""
    return load_source(prepare("multimodal", data_dir, root), "train")
