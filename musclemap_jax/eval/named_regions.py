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


def set_metrics(
    named: Bool[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str]
) -> SetMetrics:
    """Metrics of one set of regions per clip.

    Args:
      named: (n, K) True where a region is named.
      labels: (n, K) 0 or 1.
      activities: n names.
    """
    hits = (named & labels.astype(bool)).astype(np.float64)
    return _metrics(_weighted(hits, activities), _recall(hits, labels, activities), _weighted(named, activities))


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
    num_regions = labels.shape[1]
    order = np.argsort(-frequency, kind="stable")
    hits = np.zeros(num_regions + 1)
    recalls = np.zeros(num_regions + 1)
    named = np.zeros(labels.shape, bool)
    for m, region in enumerate(order, start=1):
        named[:, region] = True
        of_named = (named & labels.astype(bool)).astype(np.float64)
        hits[m], recalls[m] = _weighted(of_named, activities), _recall(of_named, labels, activities)
    m = int(np.argmax(recalls >= min(recall, recalls[-1])))
    if m == 0:
        return _metrics(0.0, 0.0, 0.0)
    part = (min(recall, recalls[-1]) - recalls[m - 1]) / (recalls[m] - recalls[m - 1])
    return _metrics(hits[m - 1] + part * (hits[m] - hits[m - 1]), recall, m - 1 + part)


def all_regions(labels: Real[np.ndarray, "n K"], activities: Sequence[str]) -> SetMetrics:
    """Metrics of naming every region for every clip."""
    return set_metrics(np.ones(labels.shape, bool), labels, activities)


def _weighted(values: Real[np.ndarray, "n K"] | Bool[np.ndarray, "n K"], activities: Sequence[str]) -> float:
    """Mean over activities and clips of the row sums."""
    return float(activity_weights(activities) @ values.sum(axis=1))


def _recall(hits: Float64[np.ndarray, "n K"], labels: Real[np.ndarray, "n K"], activities: Sequence[str]) -> float:
    num_active = labels.sum(axis=1)
    kept = num_active > 0
    if not kept.any():
        return float("nan")
    weights = activity_weights(np.asarray(activities, str)[kept].tolist())
    return float(weights @ (hits[kept].sum(axis=1) / num_active[kept]))


def _metrics(hits: float, recall: float, num_named: float) -> SetMetrics:
    return SetMetrics(recall, hits / num_named if num_named else float("nan"), num_named)
