"""A prediction made by hand, and the frames of the real clip as prediction shows them to observers."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from musclemap_jax.data.raw.video import read_video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.conftest import ROOT

CLIP = ROOT / "tests" / "data" / "real" / "pose2sim_cam01.mp4"
NUM_FRAMES, FPS = 100, 60.0
COCO17 = get_layout("coco17").joints


@dataclasses.dataclass
class Frame:
    """A frame as prediction shows it."""

    number: int
    time_s: float
    image: np.ndarray
    persons: Mapping[int, np.ndarray]
    joint_names: tuple[str, ...] = COCO17


def real_frames() -> Iterator[Frame]:
    """The clip's frames with its skeleton."""
    video = read_video(CLIP)
    skeleton = read_alphapose(CLIP.with_suffix(".json"), "coco17", NUM_FRAMES)
    skeleton[..., :2] *= video.size[0] / video.source_size[0]
    for number, image in enumerate(video.frames):
        yield Frame(number, number / FPS, image, {1: skeleton[number, 0]})


def blank_frames(count: int, fps: float = 30.0, size: tuple[int, int] = (32, 48), first_seen: int = 0):
    """Grey frames, each a little brighter than the one before it; from `first_seen` a person is in them."""
    joints = np.ones((len(COCO17), 3), np.float32)
    for number in range(count):
        image = np.full((*size, 3), number % 200, np.uint8)
        yield Frame(number, number / fps, image, {1: joints} if number >= first_seen else {})


def prediction(probabilities, regions=MUSCLE_REGIONS, **changes) -> Prediction:
    """A prediction with windows of one second; rows of NaN are windows without an answer; from 0.5 it is active."""
    probabilities = np.asarray(probabilities, np.float64).reshape(-1, len(regions))
    num_windows = len(probabilities)
    answered = ~np.isnan(probabilities).any(axis=1)
    starts = np.arange(num_windows, dtype=np.float64)
    fields = {
        "source": "videos/squat.mp4",
        "regions": tuple(regions),
        "duration_s": float(num_windows),
        "fps": FPS,
        "times_s": np.stack([starts, starts + 1], axis=1),
        "logits": np.zeros(probabilities.shape, np.float32),
        "probabilities": probabilities,
        "active": np.nan_to_num(probabilities) >= 0.5,
        "branch_probabilities": {},
        "modalities": tuple(("video", "skeleton") if spoke else () for spoke in answered),
        "persons": tuple((1,) if spoke else () for spoke in answered),
        "limb_motion": np.zeros((num_windows, 2, 2), np.float32),
    }
    return Prediction(**(fields | changes))
