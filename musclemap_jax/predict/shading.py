"""What the body map shows of a prediction: how strongly each side of a region is shaded, and what is outlined.

Letters of shapes: K muscle regions; the two sides are the person's left and right.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.sides import side_strengths


@dataclasses.dataclass(frozen=True)
class Shading:
    """Values of the regions in some windows.

    Attributes:
      regions: Names of the K regions.
      probabilities: (K,) means; NaN if no window has an answer.
      strengths: (K, 2) in [0, 1]: the same, and less on a side that moved less than the other (`sides`).
      active: (K, 2) bool: active in at least half of the windows, on the side that moved more, or on both.
    """

    regions: tuple[str, ...]
    probabilities: np.ndarray
    strengths: np.ndarray
    active: np.ndarray


def shading(prediction: Prediction, window: int | None = None) -> Shading:
    """The values of a window, or of all windows that have an answer.

    Args:
      prediction: What the model says.
      window: Index of the window; -1 for a time without one.
    """
    windows = np.flatnonzero(prediction.answered)
    if window is not None:
        windows = windows[windows == window]
    num_regions = len(prediction.regions)
    if not len(windows):
        nothing = np.full(num_regions, np.nan)
        sides = np.zeros((num_regions, 2))
        return Shading(prediction.regions, nothing, sides, sides > 0)
    probabilities, active = prediction.probabilities[windows], prediction.active[windows]
    strengths = side_strengths(prediction.regions, prediction.limb_motion[windows])
    times_active = active.sum(axis=0)[:, None]
    times_on_side = (active[..., None] & (strengths == 1)).sum(axis=0)
    return Shading(
        regions=prediction.regions,
        probabilities=probabilities.mean(axis=0),
        strengths=(probabilities[..., None] * strengths).mean(axis=0),
        active=(2 * times_active >= len(windows)) & (2 * times_on_side >= times_active),
    )
