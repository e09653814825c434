"""Optical flow: its estimation between frames, and its mapping to 8 bits.

Sources: OpenCV's DIS (Kroeger et al., 2016) and TV-L1 (Zach et al., 2007). The mapping is that of two-stream networks:
a displacement within +-bound pixels per frame becomes round(128 + displacement / step) with step = 2 bound / 255. No
motion is 128, and larger displacements are clipped.

A raw data set may bring its own flow: ``flow/<clip_id>_x.mp4`` and ``_y.mp4``, grey, mapped in the same way.
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
"""Default bound, that of two-stream networks; at 15 to 60 frames per second few displacements exceed it."""

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def flow_paths(root: str | Path, clip_id: str) -> tuple[Path, Path]:
    """Paths of a clip's horizontal and vertical flow under the raw data set's folder."""
    folder = Path(root) / FLOW
    return folder / f"{clip_id}_x.mp4", folder / f"{clip_id}_y.mp4"


def check_method(method: str) -> None:
    """Raises UserError for an unknown method."""
    if method not in METHODS:
        raise UserError(f"flow_method: expected one of {', '.join(METHODS)}, got {method!r}")


def make_estimator(method: str) -> Estimator:
    """A function (previous, next) of uint8 (H, W) grey frames -> float32 (H, W, 2): x, y displacement in pixels.

    The method is ``dis`` (its medium preset) or ``tvl1``, which is at least 15 times slower. Raises UserError for
    another one, or one that the installed OpenCV lacks.
    """
    check_method(method)
    if method == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise UserError(
                "flow_method tvl1: this OpenCV has no module optflow: install the package "
                "opencv-contrib-python-headless instead of opencv-python-headless, or use flow_method dis"
            )
        estimator = cv2.optflow.createOptFlow_DualTVL1()
    else:
        estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return lambda previous, following: estimator.calc(previous, following, None)


def step_px(bound: float) -> float:
    """Pixels per frame of one 8-bit step."""
    return 2 * bound / 255


def encode_flow(flow: np.ndarray, bound: float) -> np.ndarray:
    """float32 (H, W, 2) in pixels -> uint8 (H, W, 2); 128 is no motion, values beyond the bound are clipped."""
    return np.rint(NO_MOTION + flow / step_px(bound)).clip(0, 255).astype(np.uint8)


def decode_flow(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """uint8 (..., 2) x and y as stored -> float32 displacements in pixels per frame, by the record's ``flow_scale``."""
    return (values.astype(np.float32) - NO_MOTION) * np.asarray(scale, np.float32)
