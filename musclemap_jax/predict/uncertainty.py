"""What a prediction is not sure of, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.reporting.formatting import whole_percent

NEAR = 0.4
"""Distance in log-odds of a mean probability from its threshold below which a decision is called close: 40 to 60 % for
a threshold of 50 %, 7 to 14 % for one of 10 %."""

DISAGREEMENT = 0.4
"""Difference of two branches' mean probabilities that is worth a sentence."""

_MAX_NAMED = 4


def doubts(prediction: Prediction, thresholds: np.ndarray | None = None) -> list[str]:
    """Sentences on what limits the answer: the prediction's own warnings first.

    Args:
      prediction: What the model says.
      thresholds: (K,) probabilities from which each region counts as active; None if the decisions rest on none.
    """
    return [
        *prediction.warnings,
        *_close_decisions(prediction, thresholds),
        *_changing_decisions(prediction),
        *_disagreements(prediction),
    ]


def _close_decisions(prediction: Prediction, thresholds: np.ndarray | None) -> list[str]:
    means = prediction.mean_probabilities()
    if thresholds is None or np.isnan(means).any():
        return []
    distance = np.abs(_log_odds(means) - _log_odds(thresholds))
    close = [int(k) for k in np.argsort(distance, kind="stable") if distance[k] < NEAR]
    if not close:
        return []
    names = [
        f"{prediction.regions[k]} ({whole_percent(means[k])}, threshold {whole_percent(thresholds[k])})" for k in close
    ]
    return [f"Close to their threshold: {_some(names)}."]


def _changing_decisions(prediction: Prediction) -> list[str]:
    fractions = prediction.active_fraction()
    changing = [int(k) for k in np.argsort(np.abs(fractions - 0.5), kind="stable") if 0.2 <= fractions[k] <= 0.8]
    if not changing:
        return []
    names = [f"{prediction.regions[k]} (active in {whole_percent(fractions[k])} of the windows)" for k in changing]
    return [f"On in some windows and off in others: {_some(names)}."]


def _disagreements(prediction: Prediction) -> list[str]:
    branches = list(prediction.branch_probabilities)
    if len(branches) != 2:
        return []
    first, second = (prediction.branch_probabilities[name] for name in branches)
    both = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    if not both.any():
        return []
    a, b = first[both].mean(axis=0), second[both].mean(axis=0)
    apart = [int(k) for k in np.argsort(-np.abs(a - b), kind="stable") if abs(a[k] - b[k]) >= DISAGREEMENT]
    names = [
        f"{prediction.regions[k]} ({branches[0]} {whole_percent(a[k])}, {branches[1]} {whole_percent(b[k])})"
        for k in apart
    ]
    return [f"The branches of the model disagree on {_some(names)}."] if names else []


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.log(clipped) - np.log1p(-clipped)


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
