"""Skeletons drawn into frames of a video: left limbs light blue, right limbs orange, on a dark outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from musclemap_jax.skeleton_layouts import bones

MIN_SCORE = 0.05
"""Joints with a lower score are not drawn."""

LEFT, RIGHT, MIDDLE, OTHERS, OUTLINE = (86, 180, 233), (230, 159, 0), (255, 255, 255), (154, 165, 177), (31, 41, 51)
"""RGB; the limbs' colours are those of the plots of `reporting`."""

_SUBPIXEL_BITS = 4
_MAX_PX = 1 << 20
"""OpenCV's coordinates are 32-bit; joints further away are cut."""


def draw_persons(
    image: np.ndarray,
    persons: Mapping[int, np.ndarray],
    joint_names: Sequence[str],
    chosen: int | None = None,
    scale: float = 1.0,
) -> None:
    """Draws skeletons into an image.

    Args:
      image: uint8 (H, W, 3) RGB, contiguous; it is changed.
      persons: {number of the person: (V, 3) joints x, y, score}.
      joint_names: Names of the V joints.
      chosen: Number of the person whom a prediction is about; others are drawn grey. None draws all alike.
      scale: Pixels of the image in a unit of the joints.
    """
    thickness = max(1, round(0.009 * min(image.shape[:2])))
    for number, joints in persons.items():
        lines = _lines(joints, joint_names, scale)
        for start, end, _ in lines:
            _draw(image, start, end, OUTLINE, thickness + max(2, thickness // 2 * 2))
        for start, end, colour in lines:
            _draw(image, start, end, colour if chosen in (None, number) else OTHERS, thickness)


def _lines(
    joints: np.ndarray, joint_names: Sequence[str], scale: float
) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]]:
    """Start, end and colour of every bone whose joints are present."""
    # Pixel centres lie at half units of both sizes.
    places = np.clip((joints[:, :2].astype(np.float64) + 0.5) * scale - 0.5, -_MAX_PX, _MAX_PX)
    places = np.rint(places * (1 << _SUBPIXEL_BITS)).astype(int)
    lines = []
    for a, b in bones(joint_names):
        if min(joints[a, 2], joints[b, 2]) >= MIN_SCORE:
            sides = {name.split("_")[0] for name in (joint_names[a], joint_names[b])}
            colour = MIDDLE if {"left", "right"} <= sides else LEFT if "left" in sides else RIGHT
            colour = colour if sides & {"left", "right"} else MIDDLE
            lines.append((tuple(places[a].tolist()), tuple(places[b].tolist()), colour))
    return lines


def _draw(image: np.ndarray, start: tuple[int, int], end: tuple[int, int], colour: Sequence[int], width: int) -> None:
    cv2.line(image, start, end, colour, width, cv2.LINE_AA, _SUBPIXEL_BITS)
