"""Scores of the muscle regions in each repetition, from those of the windows of a video.

Letters of shapes: W windows, R repetitions, K muscle regions.
"""

from __future__ import annotations

import numpy as np

LIMIT = 16.0
"""Log-odds beyond this say nothing more."""


def repetition_scores(scores: np.ndarray, times_s: np.ndarray, repetitions: np.ndarray) -> np.ndarray:
    """(R, K) means of the windows' scores, each weighted by the seconds that it shares with the repetition.

    Args:
      scores: (W, K); a window with NaN has no answer and counts nothing.
      times_s: (W, 2) start and end of the windows.
      repetitions: (R, 2) start and end of the repetitions.

    Returns:
      NaN for a repetition that lies in no window with an answer.
    """
    starts = np.maximum(times_s[None, :, 0], repetitions[:, None, 0])
    ends = np.minimum(times_s[None, :, 1], repetitions[:, None, 1])
    answered = ~np.isnan(scores).any(axis=1)
    weights = np.maximum(ends - starts, 0.0) * answered
    total = weights.sum(axis=1, keepdims=True)
    means = weights @ np.where(answered[:, None], scores, 0.0) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, means, np.nan)


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Log-odds within `LIMIT`; NaN stays NaN."""
    clipped = np.clip(probabilities, 1 / (1 + np.exp(LIMIT)), 1 / (1 + np.exp(-LIMIT)))
    return np.log(clipped) - np.log1p(-clipped)
