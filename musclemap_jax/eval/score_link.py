"""From a model's logits to the scores by which clips are ranked and decided on, by the link of the loss.

A model that is trained by a sigmoid has its logits as scores: the log-odds of each region. One that is trained by a
softmax over the regions (`train/losses.py`) has logits that mean something only beside the clip's other logits; its
scores are the log-odds of each region's softmax, which order clips as the softmax itself does. On our rendered clips a
linear model that a softmax trained has a mAP of 93.6 on its softmax and of 80.1 on its logits.

Views are averaged before: a clip's logits are the mean of its views' logits.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real

LINKS = ("sigmoid", "softmax")

LOGITS, SOFTMAX = "logits", "softmax"
"""What average precision is taken on."""

CHOICES = ("link", "logits")
"""Values of `config.eval.scores`: by the link of the loss, or always on logits."""


def reported_scores(link: str, choice: str) -> tuple[str, ...]:
    """What average precision is taken on, `LOGITS` or `SOFTMAX`: the first counts, and a second is given beside it.

    Args:
      link: One of `LINKS`. A sigmoid orders the clips as its logits do, so there is no second.
      choice: One of `CHOICES`.
    """
    if link == "sigmoid":
        return (LOGITS,)
    return (SOFTMAX, LOGITS) if choice == "link" else (LOGITS, SOFTMAX)


def from_logits(logits: Real[np.ndarray, "*W K"], scores: str) -> Real[np.ndarray, "*W K"]:
    """Scores that order clips by `LOGITS`, or by the `SOFTMAX` over the regions, of which they are the log-odds."""
    return logits if scores == LOGITS else log_odds(logits, "softmax")


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
