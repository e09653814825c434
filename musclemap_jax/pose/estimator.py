"""What a pose estimator is, whichever library does the work.

Letters of shapes: H W pixels, V joints.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class PosedPerson(NamedTuple):
    """One person whom a pose estimator found in one frame.

    Attributes:
      joints: (V, 3) float32 x, y in pixels of the image given, score in [0, 1]; absent joints are all zero.
      score: The person's score in [0, 1].
    """

    joints: np.ndarray
    score: float


class PoseEstimator(Protocol):
    """Finds persons in the frames of one video; frames come in the order of time.

    Attributes:
      name: Name and version, for reports.
      layout: Joint order, a name of `skeleton_layouts.LAYOUTS`.
    """

    name: str
    layout: str

    def detect(self, image: np.ndarray, time_s: float) -> list[PosedPerson]:
        """Persons in a uint8 (H, W, 3) RGB image; `time_s` increases from call to call."""
        ...

    def close(self) -> None: ...
