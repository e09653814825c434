"""Sets of regions with a stated recall: conformal risk control of the false-negative rate.

Source: Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal risk control", arXiv:2208.02814, theorem 1 and the
false-negative rate of its examples: name the regions whose score reaches a threshold t, and take the largest t with

    n / (n + 1) * M(t) + 1 / (n + 1) <= alpha,

where M(t) is the mean, over n calibration units, of the fraction of active regions that are missed. If a further unit
is exchangeable with those n, its expected fraction of missed regions is at most alpha; nothing is assumed about the
model. Clips of one activity are not exchangeable with clips of another, so the unit here is the activity, whose loss is
the mean over its clips (hierarchical exchangeability: Lee, Barber, Willett, arXiv:2306.06342).

The stated recall r is that of the calibration activities, 1 - M(t) >= r. The condition then holds for
alpha = 1 - r n / (n + 1), so a further activity is guaranteed r n / (n + 1): 85.5 % for a stated 90 % and 19
activities. The gap is the theorem's allowance for a further activity of which everything is missed. To be guaranteed g,
state r = g (n + 1) / n; with fewer than g / (1 - g) activities that is above 1, and only naming every region will do.

The guarantee is on a mean, over activities and over draws of the calibration activities. It says nothing about the
recall of single clips, activities or regions, about activities of another kind, or about a score that was itself fitted
on the calibration activities.

On the demo, calibrated on half of the new activities (9 or 10) and scored on the other half, the mean recall over
thirteen ways to halve them is 88.7 % for a stated 90 %, with 15.6 of 20 regions named (16.9 by frequency at equal
recall). The threshold that guarantees 90 % names 19.7 (19.1 by frequency), so we state the former by default.

Letters of shapes: n clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real

from musclemap_jax.eval.named_regions import recall_parts

_ROUNDING = 1e-9
"""Error of a sum of weights that should be exactly a number such as 0.1."""


def recall_threshold(
    scores: Real[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str], recall: float
) -> float:
    """The largest threshold at which the mean recall over the activities is at least the stated one.

    It is a weighted quantile of the scores of active regions (`named_regions.recall_parts`).

    Args:
      scores: (n, K) Scores on one scale for all regions; a region is named if its score is at least the threshold.
      labels: (n, K) 0 or 1. Clips without an active region have no recall and are left out.
      activities: n names.
      recall: The stated recall, in (0, 1].

    Returns:
      The threshold, which is the score of an active region.

    Raises:
      ValueError: No clip has an active region, or a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("scores must not be NaN")
    active = labels.astype(bool)
    if not active.any():
        raise ValueError("recall is undefined: no clip has an active region")
    values, parts = scores[active], recall_parts(labels, activities)[active]
    order = np.argsort(values, kind="stable")
    values, parts = values[order], parts[order]
    # A threshold at a score misses what lies below it; equal scores are missed together.
    missed = np.concatenate([[0.0], np.cumsum(parts)])[np.searchsorted(values, values, side="left")]
    return float(values[missed <= 1 - recall + _ROUNDING].max())


def guaranteed_recall(recall: float, num_activities: int) -> float:
    """Lower bound on the expected recall of a further activity, if the stated recall is that of `num_activities`."""
    return recall * num_activities / (num_activities + 1)
