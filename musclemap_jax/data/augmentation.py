"""Random augmentation of a training clip, the same for all of its frames.

The crop, the flip, the colours and the erased rectangle of the video are drawn once per clip. The flip applies to the
joints too, with left and right joints swapped. The crop does not, since the places of joints are relative to the
person's centre and size. Joints have an augmentation of their own: rotation and stretch imitate other cameras, jitter
and dropped joints a detector's errors. RandAugment, if it is on, comes first (`rand_augment.py`).

Frames stay uint8. Brightness, contrast and saturation are one affine map of RGB, a single pass over the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from musclemap_jax.data.pixel_operations import GREY, mean_grey, stacked
from musclemap_jax.data.rand_augment import Operation, apply_operations, parse_policy
from musclemap_jax.errors import UserError

ERASE_VALUE = 114
"""Grey of erased rectangles: 0.45 of 255, which is about zero after the model's normalisation."""


@dataclass(frozen=True)
class AugmentationSpec:
    """Ranges of the augmentation; the defaults are for training.

    Attributes:
      crop_area: Smallest and largest area of the crop as a fraction of the frame's, in (0, 1].
      crop_aspect: Smallest and largest width / height of the crop.
      flip_probability: Probability that the clip is mirrored.
      colour_probability: Probability that its colours change.
      brightness: Values are multiplied by a factor in 1 +- brightness; in [0, 1].
      contrast: The distance from the clip's mean grey is multiplied by a factor in 1 +- contrast; in [0, 1].
      saturation: The distance from the pixel's own grey is multiplied by a factor in 1 +- saturation; in [0, 1].
      erase_probability: Probability that a rectangle is covered with grey.
      erase_area: Smallest and largest fraction of the crop's area that is covered.
      erase_aspect: Smallest and largest width / height of the rectangle.
      rand_augment: RandAugment of the images, by a name such as rand-m7-n4-mstd0.5-inc1; empty for none.
      pose_span: Smallest fraction of the clip that the poses are sampled from, in (0, 1]; 1 is the whole clip.
      joint_rotation: Largest rotation of the joints about the person's centre in degrees, in either direction.
      joint_stretch: Smallest and largest factor on the joints' places, drawn for x and y separately.
      joint_jitter: Standard deviation of the noise on each joint's place, in units of the person's size.
      joint_drop_probability: Probability that a joint of a person is absent in the whole clip.
    """

    crop_area: Sequence[float] = (0.5, 1.0)
    crop_aspect: Sequence[float] = (0.75, 4 / 3)
    flip_probability: float = 0.5
    colour_probability: float = 0.8
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    erase_probability: float = 0.25
    erase_area: Sequence[float] = (0.02, 0.2)
    erase_aspect: Sequence[float] = (0.3, 10 / 3)
    rand_augment: str = ""
    pose_span: float = 0.8
    joint_rotation: float = 15.0
    joint_stretch: Sequence[float] = (0.85, 1.15)
    joint_jitter: float = 0.02
    joint_drop_probability: float = 0.05

    def __post_init__(self) -> None:
        """Raises UserError, naming the field, for an invalid range."""
        if self.rand_augment:
            parse_policy(self.rand_augment)
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name == "rand_augment":
                continue
            if isinstance(field.default, tuple):
                value = tuple(value)  # configs hold lists
                object.__setattr__(self, name, value)
                highest, bound = (1, " <= 1") if name.endswith("_area") else (math.inf, "")
                possible = len(value) == 2 and 0 < value[0] <= value[1] <= highest and math.isfinite(value[1])
                expected = f"two numbers, 0 < low <= high{bound}"
            elif name == "pose_span":
                possible, expected = 0 < value <= 1, "0 < value <= 1"
            elif name == "joint_rotation":
                possible, expected = 0 <= value <= 180, "degrees from 0 to 180"
            elif name == "joint_jitter":
                possible, expected = 0 <= value < math.inf, "0 or more"
            else:
                possible, expected = 0 <= value <= 1, "0 <= value <= 1"
            if not possible:
                raise UserError(f"augmentation.{name}: expected {expected}, got {value}")


class Box(NamedTuple):
    """A rectangle of an image in pixels; its edges may lie between pixels."""

    top: float
    left: float
    height: float
    width: float


def _uniform(bounds: Sequence[float], rng: np.random.Generator) -> float:
    low, high = bounds
    return rng.uniform(low, high)


def _log_uniform(bounds: Sequence[float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(bounds)))


def random_crop(height: int, width: int, spec: AugmentationSpec, rng: np.random.Generator) -> Box:
    """A crop of random area, aspect (log-uniform) and place; shrunk, at its aspect, if it does not fit the frame."""
    area = height * width * _uniform(spec.crop_area, rng)
    aspect = _log_uniform(spec.crop_aspect, rng)
    crop_height, crop_width = math.sqrt(area / aspect), math.sqrt(area * aspect)
    shrink = min(1.0, height / crop_height, width / crop_width)
    crop_height, crop_width = min(crop_height * shrink, height), min(crop_width * shrink, width)
    top = rng.uniform(0, height - crop_height)
    left = rng.uniform(0, width - crop_width)
    return Box(top, left, crop_height, crop_width)


def fixed_crops(height: int, width: int, num_crops: int = 1) -> tuple[Box, ...]:
    """The largest squares of the frame, spread evenly along its longer side; a single one is in the middle."""
    side = min(height, width)
    places = (0.5,) if num_crops == 1 else tuple(index / (num_crops - 1) for index in range(num_crops))
    return tuple(Box((height - side) * place, (width - side) * place, side, side) for place in places)


def flip_video(video: UInt8[np.ndarray, "T H W 3"]) -> None:
    """Mirrors contiguous (T, H, W, 3) uint8 frames left to right, in place."""
    pixels = stacked(video)
    cv2.flip(pixels, 1, dst=pixels)


def flip_poses(poses: Float[np.ndarray, "*persons V 3"], flip: tuple[int, ...]) -> Float[np.ndarray, "*persons V 3"]:
    """Mirrors normalised poses about the person's centre and, by the layout's permutation, swaps left and right joints.

    Returns a new array.
    """
    mirrored = poses[..., list(flip), :]
    mirrored[..., 0] = 0 - mirrored[..., 0]  # 0 - x and not -x: absent joints stay at 0, not at -0
    return mirrored


def jitter_colours(video: UInt8[np.ndarray, "T H W 3"], spec: AugmentationSpec, rng: np.random.Generator) -> None:
    """Changes brightness, contrast about the clip's mean grey, and saturation of (T, H, W, 3) uint8 frames in place."""
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * (spec.brightness, spec.contrast, spec.saturation)
    pixels = stacked(video)
    saturate = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
    offset = np.full((3, 1), (1 - contrast) * brightness * mean_grey(video))
    affine = np.concatenate([contrast * brightness * saturate, offset], axis=1)
    cv2.transform(pixels, affine.astype(np.float32), dst=pixels)


def erase_rectangle(video: UInt8[np.ndarray, "T H W 3"], spec: AugmentationSpec, rng: np.random.Generator) -> None:
    """Covers the same rectangle of all (T, H, W, 3) frames with grey, in place."""
    height, width = video.shape[1:3]
    area = height * width * _uniform(spec.erase_area, rng)
    aspect = _log_uniform(spec.erase_aspect, rng)
    erase_height = min(round(math.sqrt(area / aspect)), height)
    erase_width = min(round(math.sqrt(area * aspect)), width)
    top = int(rng.integers(0, height - erase_height + 1))
    left = int(rng.integers(0, width - erase_width + 1))
    video[:, top : top + erase_height, left : left + erase_width] = ERASE_VALUE


def augment_video(
    video: UInt8[np.ndarray, "T H W 3"],
    flip: bool,
    spec: AugmentationSpec,
    rng: np.random.Generator,
    operations: Sequence[Operation] = (),
) -> None:
    """Changes a contiguous, cropped clip in place, since a clip is larger than a core's cache.

    RandAugment's operations, then flip, colours, erased rectangle. The caller draws `operations` and `flip`, since the
    joints share them.
    """
    apply_operations(video, operations)
    if flip:
        flip_video(video)
    if rng.uniform() < spec.colour_probability:
        jitter_colours(video, spec, rng)
    if rng.uniform() < spec.erase_probability:
        erase_rectangle(video, spec, rng)


def augment_poses(
    poses: Float[np.ndarray, "T P V 3"], spec: AugmentationSpec, rng: np.random.Generator
) -> Float[np.ndarray, "T P V 3"]:
    """Stretches, rotates, jitters and drops joints; returns a new array.

    Stretch and rotation are drawn once per clip, drops once per clip for each joint of each person. Joints are x, y
    relative to the person's centre, and score; absent and dropped ones are all zero.
    """
    _, num_persons, num_joints, _ = poses.shape
    stretch = np.exp(rng.uniform(*np.log(spec.joint_stretch), 2))
    angle = math.radians(rng.uniform(-spec.joint_rotation, spec.joint_rotation))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    changed = poses.copy()
    changed[..., :2] = poses[..., :2] @ (turn * stretch[None, :]).T.astype(np.float32)
    changed[..., :2] += spec.joint_jitter * rng.standard_normal(poses[..., :2].shape, dtype=np.float32)
    dropped = rng.uniform(size=(1, num_persons, num_joints, 1)) < spec.joint_drop_probability
    return np.where((poses[..., 2:] > 0) & ~dropped, changed, np.float32(0))
