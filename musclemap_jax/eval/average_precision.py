"""Average precision of a ranking, as scikit-learn defines it, and the values that chance alone reaches.

AP = sum over distinct scores s, from the highest down, of (R_s - R_prev) * P_s, where R_s and P_s are recall and
precision of "score at least s" (``sklearn.metrics.average_precision_score``, no interpolation). Clips with equal scores
enter together, so their order does not matter. For a region without a positive, scikit-learn returns 0 and many code
bases silently leave the region out; we return NaN, so that tables show that there was nothing to find.

Everything is float64 NumPy, so the results do not depend on the device, the batch size or the order of the clips.

Shapes: B clips (including padding), K muscle regions.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int, Real, Shaped


def average_precision(
    scores: Real[np.ndarray, " B"], labels: Shaped[np.ndarray, " B"], clip_valid: Shaped[np.ndarray, " B"]
) -> float:
    """Average precision of one ranking.

    Args:
      scores: Real numbers or infinities; higher means more likely. Any strictly increasing function of the scores has
        the same AP.
      labels: 0 or 1.
      clip_valid: 1 for a real clip, 0 for padding, which never counts.

    Returns:
      The average precision in [0, 1]; NaN if no valid clip is positive.

    Raises:
      ValueError: A valid clip has a NaN score, a label is not 0 or 1, or the shapes differ.
    """
    return _average_precision(*_valid_rows(scores, labels, clip_valid, "(B,)"))


def per_region_average_precision(
    scores: Real[np.ndarray, "B K"], labels: Shaped[np.ndarray, "B K"], clip_valid: Shaped[np.ndarray, " B"]
) -> Float64[np.ndarray, " K"]:
    """Average precision of each muscle region over all clips; values and errors as in :func:`average_precision`."""
    scores, labels = _valid_rows(scores, labels, clip_valid, "(B, K)")
    return np.array([_average_precision(*of_region) for of_region in zip(scores.T, labels.T, strict=True)], np.float64)


def micro_average_precision(
    scores: Real[np.ndarray, "B K"], labels: Shaped[np.ndarray, "B K"], clip_valid: Shaped[np.ndarray, " B"]
) -> float:
    """Average precision of all (clip, region) pairs in one ranking; the regions' scores must share a scale.

    Values and errors are as in :func:`average_precision`.
    """
    scores, labels = _valid_rows(scores, labels, clip_valid, "(B, K)")
    return _average_precision(scores.ravel(), labels.ravel())


def macro_mean(values: Float64[np.ndarray, " K"]) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def random_ranking_ap(num_positives: int, num_clips: int) -> float:
    """Expected average precision of a random order of the clips, in (0, 1] and exact; NaN without a positive.

    The clip at rank k is positive with probability R/N; given that, the k-1 clips above it hold (k-1)(R-1)/(N-1)
    positives on average. So E[AP] = 1/N * sum over k of (1 + (k-1)(R-1)/(N-1)) / k (Bestgen, "Exact expected average
    precision of the random baseline for system evaluation", 2015). Nothing is drawn, so the floor has no noise.

    Args:
      num_positives: R, the number of clips that show the region.
      num_clips: N, the number of all clips.
    """
    if num_positives == 0:
        return math.nan
    rank = np.arange(1, num_clips + 1, dtype=np.float64)
    positives_above = (rank - 1) * (num_positives - 1) / max(num_clips - 1, 1)
    return float(np.mean((1 + positives_above) / rank))


def constant_score_ap(num_positives: int, num_clips: int) -> float:
    """Average precision if every clip has the same score ("all ones"): the fraction of positives, NaN without one."""
    return num_positives / num_clips if num_positives else math.nan


def _average_precision(scores: Float64[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    num_positives = int(labels.sum())
    if num_positives == 0:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_labels = scores[order], labels[order]
    last_of_tie = np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True))
    true_positives = np.cumsum(sorted_labels)[last_of_tie]
    precision = true_positives / (last_of_tie + 1.0)
    recall_step = np.diff(true_positives, prepend=0) / num_positives
    return float(np.sum(recall_step * precision))


def _valid_rows(
    scores: np.ndarray, labels: np.ndarray, clip_valid: np.ndarray, shape: str
) -> tuple[Float64[np.ndarray, "n ..."], Int[np.ndarray, "n ..."]]:
    """Checks the arrays and returns the valid clips' rows: float64 scores and int64 labels."""
    if scores.ndim != shape.count(" ") + 1:
        raise ValueError(f"scores must have shape {shape}, got {scores.shape}")
    keep = clip_valid.astype(bool)
    if labels.shape != scores.shape or keep.shape != scores.shape[:1]:
        raise ValueError(
            f"expected labels {scores.shape} and clip_valid {scores.shape[:1]} for scores {scores.shape}, "
            f"got labels {labels.shape} and clip_valid {keep.shape}"
        )
    scores, labels = scores[keep].astype(np.float64), labels[keep]
    if np.isnan(scores).any():
        rows = np.flatnonzero(np.isnan(scores).reshape(len(scores), -1).any(axis=1))
        raise ValueError(
            f"scores of {rows.size} valid clips are NaN; first rows among the valid clips: {rows[:5].tolist()}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got values {np.unique(labels)[:5].tolist()}")
    return scores, labels.astype(np.int64)
