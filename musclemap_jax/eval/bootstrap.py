"""Bootstrap intervals over activities: how far a score would move with other activities of the same kind.

Clips of one activity resemble each other, so drawing clips would give intervals that are far too narrow. Whole
activities are drawn with replacement, as many as there are, and every drawn one brings all its clips ("cluster
bootstrap"; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).

Clips that are drawn twice raise average precision a little, even that of random scores (by two points with 19
activities). So an interval has the percentiles of the deviations from the mean of all repetitions.

The draws depend on the split's name and its activities only: a run's interval can be computed again, and a model and
its branches are compared on the same draws.

Shapes: n clips, K muscle regions, A activities, R repetitions.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Real

from musclemap_jax.eval.activities import activity_places, count_activities

NUM_REPETITIONS = 1000
CONFIDENCE = 0.95
_CACHED = 50
"""Repetitions at a time, so that their arrays stay in the processor's cache."""

Interval = tuple[float, float]


def draw_activities(name: str, activities: Sequence[str]) -> Float32[np.ndarray, "R A"]:
    """How often each repetition draws each activity, in their alphabetical order.

    Args:
      name: Name of the split; others have other draws.
      activities: n names, one of each clip.
    """
    count = count_activities(activities)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return random.multinomial(count, np.full(count, 1 / count), size=NUM_REPETITIONS).astype(np.float32)


def drawn_average_precision(
    scores: Real[np.ndarray, "n K"],
    labels: Real[np.ndarray, "n K"],
    activities: Sequence[str],
    draws: Float32[np.ndarray, "R A"],
) -> Float64[np.ndarray, "R K"]:
    """Average precision of each region in each repetition; NaN if no drawn clip shows the region.

    It equals `average_precision` on the clips of the drawn activities, a clip as often as its activity is drawn.

    Args:
      scores: Higher means more likely.
      labels: 0 or 1.
      activities: n names, one of each clip.
      draws: The result of `draw_activities`.
    """
    place = activity_places(activities)
    columns = [_of_region(*of_region, place, draws) for of_region in zip(scores.T, labels.T, strict=True)]
    return np.stack(columns, axis=1)


def interval(estimate: float, values: Float[np.ndarray, " R"], lowest: float = 0.0) -> Interval | None:
    """The interval of a score, or of a difference of two scores on the same draws; None if all repetitions are NaN.

    Args:
      estimate: The score on all clips, at most 1.
      values: The score in each repetition; NaN is left out.
      lowest: The lowest value that the score can have: 0, or -1 for a difference.
    """
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    deviations = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) - defined.mean()
    low, high = np.clip(estimate + deviations, lowest, 1)
    return float(low), float(high)


def macro_means(values: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
    """The mean over regions of each repetition, without NaN."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a repetition without any region is NaN
        return np.nanmean(values, axis=1)


def _of_region(
    scores: Real[np.ndarray, " n"],
    labels: Real[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    draws: Float32[np.ndarray, "R A"],
) -> Float64[np.ndarray, " R"]:
    """Average precision of one region: counts of clips above each positive are sums over activities, hence products."""
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], labels[order] == 1
    # Above each distinct score of a positive: the position of its last clip.
    last = np.unique(np.searchsorted(-scores, -scores[positive], side="right")) - 1
    if not last.size:
        return np.full(len(draws), np.nan)
    clips = np.eye(draws.shape[1], dtype=np.float32)[place[order]]
    clips_above = np.cumsum(clips, axis=0)[last].T
    positives_above = np.cumsum(clips * positive[:, None], axis=0)[last].T
    parts = [_weighted(part, clips_above, positives_above) for part in np.split(draws, NUM_REPETITIONS // _CACHED)]
    return np.concatenate(parts)


def _weighted(
    draws: Float32[np.ndarray, "r A"],
    clips_above: Float32[np.ndarray, "A scores"],
    positives_above: Float32[np.ndarray, "A scores"],
) -> Float64[np.ndarray, " r"]:
    """Average precision in some repetitions: the sum of precision times the positives that a score adds."""
    num_positives = draws @ positives_above
    precision = draws @ clips_above
    np.maximum(precision, 1, out=precision)
    np.divide(num_positives, precision, out=precision)
    total = num_positives[:, -1].astype(np.float64)
    added = np.diff(num_positives, axis=1, prepend=0)
    weighted = np.einsum("rs,rs->r", added, precision).astype(np.float64)
    return np.where(total > 0, weighted / np.maximum(total, 1), np.nan)
