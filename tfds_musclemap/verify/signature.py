"""What a clip looks like, in a few bytes: the difference hash of some of its frames (see near_duplicates.py)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

NUM_FRAMES = 5
SIDE = 16
"""Places of a frame's hash in each direction."""

_MIN_CONTRAST = 4.0
"""Standard deviation of the grey levels below which a clip, such as a black one, looks like nothing."""


def signature_frames(num_frames: int) -> list[int]:
    """The frames that a signature is made of: the middles of equal parts of the clip."""
    return [int((part + 0.5) * num_frames / NUM_FRAMES) for part in range(NUM_FRAMES)]


def signature(frames: Sequence[np.ndarray]) -> bytes | None:
    """The hashes of RGB frames (H, W, 3) and, after them, of the mirrored frames; None for frames without contrast."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    small = np.stack([cv2.resize(image, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA) for image in grey])
    if small.std() < _MIN_CONTRAST:
        return None
    left, right = small[..., :-1], small[..., 1:]
    darker = np.stack([left < right, (left > right)[..., ::-1]])
    return np.packbits(darker.reshape(2, -1), axis=-1).tobytes()
