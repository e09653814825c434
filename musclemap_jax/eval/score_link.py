"""From a model's logits to the scores that decisions are made on: the log-odds of each region, by the loss's link.

A model that is trained by a sigmoid has these scores as its logits. One that is trained by a softmax over the regions
(`train/losses.py`) has logits that mean something only beside the clip's other logits.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real

LINKS = ("sigmoid", "softmax")


def log_odds(logits: Real[np.ndarray, "*W K"], link: str) -> Float64[np.ndarray, "*W K"]:
    """Log-odds of each region as the model states them.

    Args:
      logits: (..., K) Logits of the model; NaN stays NaN.
      link: One of `LINKS`: `sigmoid` leaves the logits as they are, `softmax` gives log(p / (1 - p)) of a softmax over
        the regions, which ends at 37, where p rounds to 1.

    Returns:
      (..., K) float64.
    """
    logits = logits.astype(np.float64)
    if link == "sigmoid":
        return logits
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p - np.log1p(-np.minimum(np.exp(log_p), 1 - 2.0**-53))


def probabilities(log_odds: Float64[np.ndarray, "*W"]) -> Float64[np.ndarray, "*W"]:
    """1 / (1 + exp(-log_odds)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * log_odds)
