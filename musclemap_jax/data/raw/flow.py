"""Optical flow: estimated between frames, and mapped to 8 bit.

Sources: DIS (Kroeger et al., 2016) and TV-L1 (Zach et al., 2007) as OpenCV has them. The mapping is that of the
two-stream networks: a displacement within +-bound pixels a frame becomes round(128 + displacement / step), with step
= 2 bound / 255: 128 is no motion, and what is farther is clipped.

A raw data set may bring its flow: ``flow/<clip_id>_x.mp4`` and ``_y.mp4``, grey, mapped in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.errors import UserError

FLOW = "flow"
METHODS: tuple[str, ...] = ("dis", "tvl1")
NO_MOTION = 128
BOUND_PX = 20.0
"""Default bound, as the two-stream networks have it; beyond it lies little at 15 to 60 frames per second."""

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def flow_paths(root: str | Path, clip_id: str) -> tuple[Path, Path]:
    """Paths of a clip's horizontal and vertical flow under the raw data set's folder."""
    folder = Path(root) / FLOW
    return folder / f"{clip_id}_x.mp4", folder / f"{clip_id}_y.mp4"


def make_estimator(method: str) -> Estimator:
    """A function (previous, next) of uint8 (H, W) grey frames -> float32 (H, W, 2): x, y displacement in pixels.

    Args:
      method: ``dis`` (its medium preset) or ``tvl1``, which is 15 times slower or more.

    Raises:
      UserError: another method, or OpenCV here does not have it.
    """
    if method not in METHODS:
        raise UserError(f"flow_method: expected one of {', '.join(METHODS)}, got {method!r}")
    if method == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise UserError(
                "flow_method tvl1: this OpenCV has no module optflow: install the package "
                "opencv-contrib-python-headless in the place of opencv-python-headless, or take flow_method dis"
            )
        estimator = cv2.optflow.createOptFlow_DualTVL1()
    else:
        estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return lambda previous, following: estimator.calc(previous, following, None)


def step_px(bound: float) -> float:
    """Pixels a frame that one 8-bit step stands for."""
    return 2 * bound / 255


def encode_flow(flow: np.ndarray, bound: float) -> np.ndarray:
    """float32 (H, W, 2) in pixels -> uint8 (H, W, 2); 128 is no motion, beyond the bound is clipped."""
    return np.rint(NO_MOTION + flow / step_px(bound)).clip(0, 255).astype(np.uint8)


def decode_flow(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """uint8 (..., 2) -> float32 displacements in pixels a frame.

    Args:
      values: x and y as stored.
      scale: (2,) pixels a step, the record's ``flow_scale``.
    """
    return (values.astype(np.float32) - NO_MOTION) * np.asarray(scale, np.float32)
