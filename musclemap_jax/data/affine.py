"""Affine maps of a clip's geometry: rotation, shear and translation of frames, joints and optical flow alike.

A map is a (3, 3) matrix on homogeneous (x, y, 1) in pixels, y downwards, with the centre of the first pixel at
(0.5, 0.5). It says where a point of the picture goes. Angles, shears and fractions, their signs and fixed points are
those of Pillow, timm and PySlowFast: a shear leaves the upper or left edge in place, a rotation the centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from musclemap_jax.data.raw.flow import NO_MOTION

Map = Float[np.ndarray, "3 3"]

FILL = 128
"""Level of what a map brings into the frame: grey, and no motion in optical flow."""


def rotation(degrees: float, size: int) -> Map:
    """Rotation of square frames of `size` pixels about their centre, counter-clockwise as it is seen."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    to_centre, back = _translation(-size / 2, -size / 2), _translation(size / 2, size / 2)
    return back @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) @ to_centre


def shear_x(slope: float, size: int) -> Map:
    """Moves each row to the left, by `slope` times its distance from the upper edge."""
    return np.array([[1, -slope, 0], [0, 1, 0], [0, 0, 1.0]])


def shear_y(slope: float, size: int) -> Map:
    """Moves each column upwards, by `slope` times its distance from the left edge."""
    return np.array([[1, 0, 0], [-slope, 1, 0], [0, 0, 1.0]])


def translation_x(fraction: float, size: int) -> Map:
    """Moves the picture to the left, by a fraction of its width."""
    return _translation(-fraction * size, 0)


def translation_y(fraction: float, size: int) -> Map:
    """Moves the picture upwards, by a fraction of its height."""
    return _translation(0, -fraction * size)


AFFINE_MAPS: dict[str, Callable[[float, int], Map]] = {
    "rotate": rotation,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translation_x,
    "translate_y": translation_y,
}
"""(value, size) -> map on square frames of `size` pixels, by the name of RandAugment's operation."""


def in_frame(crop_map: Map, box: Sequence[float], size: int) -> Map:
    """A map on the crop as a map on the frame that it was taken from.

    Args:
      crop_map: A map on crops that were resized to `size` x `size` pixels.
      box: The crop's top, left, height and width in pixels of the frame.
    """
    top, left, height, width = box
    to_crop = np.diag([size / width, size / height, 1.0]) @ _translation(-left, -top)
    return np.linalg.inv(to_crop) @ crop_map @ to_crop


def move_frames(frames: UInt8[np.ndarray, "T H W C"], crop_map: Map) -> None:
    """Moves the pixels of all frames, in place, by bilinear interpolation."""
    height, width, channels = frames.shape[1:]
    half = _translation(0.5, 0.5)  # OpenCV has the centre of the first pixel at (0, 0)
    source_of = np.linalg.inv(half) @ np.linalg.inv(crop_map) @ half
    moved = np.empty(frames.shape[1:], np.uint8)
    for frame in frames:
        cv2.warpAffine(
            frame,
            source_of[:2],
            (width, height),
            dst=moved,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(FILL,) * channels,
        )
        frame[...] = moved


def move_joints(poses: Float[np.ndarray, "*persons V 3"], frame_map: Map) -> Float[np.ndarray, "*persons V 3"]:
    """Moves joints (x, y, score) in pixels of the frame; absent joints stay all zero. Returns a new array."""
    moved = poses.copy()
    moved[..., :2] = poses[..., :2] @ frame_map[:2, :2].T.astype(np.float32) + frame_map[:2, 2].astype(np.float32)
    return np.where(poses[..., 2:] > 0, moved, np.float32(0))


def move_flow(
    flow: UInt8[np.ndarray, "T H W 2"], crop_map: Map, frame_map: Map, pixels_per_level: Float[np.ndarray, " 2"]
) -> None:
    """Moves 8-bit optical flow, in place: its places by the map on the crop, its vectors by the map on the frame."""
    move_frames(flow, crop_map)
    scale = pixels_per_level.astype(np.float32)
    turn = (frame_map[:2, :2] * scale[None, :] / scale[:, None]).astype(np.float32)
    vectors = (flow.astype(np.float32) - NO_MOTION) @ turn.T
    flow[...] = np.rint(vectors + NO_MOTION).clip(0, 255).astype(np.uint8)


def _translation(x: float, y: float) -> Map:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
