"""How good sets of regions are: recall beside precision and the number of regions, against sets that need no model.

Naming every region reaches any recall, so recall says nothing alone. Two rows need no model: all regions, and the
most frequent regions of the training clips, as many as the same recall takes.

Letters of shapes: n clips, K muscle regions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Real

from musclemap_jax.eval.activities import activity_weights


@dataclasses.dataclass(frozen=True)
class SetMetrics:
    """Quality of the sets of regions that are named for clips; each activity counts the same.

    Attributes:
      recall: Mean over activities and their clips of the fraction of active regions that are named, in [0, 1]; clips
        without an active region do not count. NaN if no other are left.
      precision: Fraction of the named regions that are active, in [0, 1]; NaN if none is named.
      mean_regions: Mean number of regions named.
    """

    recall: float
    precision: float
    mean_regions: float


def recall_parts(labels: Real[np.ndarray, "n K"], activities: Sequence[str]) -> Float64[np.ndarray, "n K"]:
    """(n, K) what naming a region of a clip adds to the recall: 0 unless it is active, and 1 in all.

    A clip's active regions have equal parts, so do an activity's clips, and the activities. Clips without an active
    region have no recall and are left out; if there are no others, all parts are 0.
    """
    num_active = labels.sum(axis=1, dtype=np.float64)
    parts = np.zeros(labels.shape)
    kept = num_active > 0
    weights = activity_weights(np.asarray(activities, str)[kept].tolist())
    parts[kept] = labels[kept] * (weights / num_active[kept])[:, None]
    return parts


def set_metrics(
    named: Bool[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str]
) -> SetMetrics:
    """Metrics of one set of regions per clip.

    Args:
      named: (n, K) True where a region is named.
      labels: (n, K) 0 or 1.
      activities: n names.
    """
    weights, parts = activity_weights(activities), recall_parts(labels, activities)
    recall = float((parts * named).sum()) if parts.any() else float("nan")
    return _metrics(recall, float(weights @ (named * labels).sum(axis=1)), float(weights @ named.sum(axis=1)))


def most_frequent_regions(
    frequency: Real[np.ndarray, " K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str], recall: float
) -> SetMetrics:
    """Metrics of naming the most frequent regions for every clip, as many as a recall takes.

    A recall between those of m and m + 1 regions is reached exactly by naming m + 1 for a random part of the clips.

    Args:
      frequency: (K,) How often each region occurs in training; the first of equally frequent ones is named first.
      labels: (n, K) 0 or 1.
      activities: n names.
      recall: The recall to reach, in [0, 1]; NaN gives NaN.
    """
    if np.isnan(recall):
        return SetMetrics(np.nan, np.nan, np.nan)
    order = np.argsort(-frequency, kind="stable")
    # By number of regions named, from 0.
    hits = np.concatenate([[0], np.cumsum((activity_weights(activities) @ labels)[order])])
    recalls = np.concatenate([[0], np.cumsum(recall_parts(labels, activities).sum(axis=0)[order])])
    m = int(np.argmax(recalls >= min(recall, recalls[-1])))
    if m == 0:
        return _metrics(0.0, 0.0, 0.0)
    part = (min(recall, recalls[-1]) - recalls[m - 1]) / (recalls[m] - recalls[m - 1])
    return _metrics(recall, float(hits[m - 1] + part * (hits[m] - hits[m - 1])), float(m - 1 + part))


def all_regions(labels: Real[np.ndarray, "n K"], activities: Sequence[str]) -> SetMetrics:
    """Metrics of naming every region for every clip."""
    return set_metrics(np.ones(labels.shape, bool), labels, activities)


def _metrics(recall: float, num_hits: float, num_named: float) -> SetMetrics:
    return SetMetrics(recall, num_hits / num_named if num_named else float("nan"), num_named)
