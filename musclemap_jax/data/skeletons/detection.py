"""A person in one frame, and the arithmetic of boxes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Box = tuple[float, float, float, float]
"""x, y of the top left corner, width, height."""


class Detection(NamedTuple):
    """A person in one frame.

    Attributes:
      frame: Number of the frame, from 0.
      idx: The detector's number of the person, or None.
      joints: (V, 3) x, y, score.
      box: x, y, width, height, in the unit of the joints.
      score: The person's score.
      num_nan: Number of joints that the file gives as NaN; they are absent.
    """

    frame: int
    idx: float | None
    joints: np.ndarray
    box: Box
    score: float
    num_nan: int = 0


def bounding_box(joints: np.ndarray) -> Box:
    """x, y, width, height of the bounding box of the joints (V, 3) that are present; zeros if there is none."""
    places = joints[joints[:, 2] > 0, :2]
    if not len(places):
        return 0.0, 0.0, 0.0, 0.0
    low, high = places.min(axis=0), places.max(axis=0)
    return (*low.tolist(), *(high - low).tolist())


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0


def moved(box: Box, dx: float, dy: float) -> Box:
    """The box, shifted."""
    return box[0] + dx, box[1] + dy, box[2], box[3]


def scaled(box: Box, x_scale: float, y_scale: float) -> Box:
    """The box in another unit."""
    return box[0] * x_scale, box[1] * y_scale, box[2] * x_scale, box[3] * y_scale
