"""What a model said about every clip of a split, put together from padded batches.

A clip that is missing or counted twice would shift every figure without a sign of it, so both are refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, Real, Shaped


class SplitPredictions(NamedTuple):
    """Scores and truth of the clips of one split, without padding.

    Attributes:
      scores: (n, K) float, higher means more likely; logits averaged over views, as a rule.
      labels: (n, K) 0 or 1.
      clip_ids: n names, each once.
      activities: n names of activities, or empty where they are not known.
    """

    scores: Real[np.ndarray, "n K"]
    labels: Real[np.ndarray, "n K"]
    clip_ids: Sequence[str]
    activities: Sequence[str] = ()


def from_padded(
    scores: Real[np.ndarray, "B K"],
    labels: Real[np.ndarray, "B K"],
    clip_valid: Shaped[np.ndarray, " B"],
    clip_index: Integer[np.ndarray, " B"],
    clip_ids: Sequence[str],
    activities: Sequence[str] = (),
) -> SplitPredictions:
    """Drops padding and puts the clips into the split's order, whatever the batches and processes they came from.

    Args:
      scores: (B, K) of all batches of all processes, joined.
      labels: (B, K) 0 or 1.
      clip_valid: (B,) 1 for a real clip, 0 for padding.
      clip_index: (B,) position in the split; read for valid clips only.
      clip_ids: n names, in the split's order.
      activities: n names, in the split's order, or empty.

    Returns:
      The predictions of all n clips, in the split's order; scores keep their dtype, labels are uint8.

    Raises:
      ValueError: when a clip of the split is missing, comes twice, or shapes do not agree.
    """
    keep, index = clip_valid.astype(bool), clip_index
    if scores.ndim != 2 or labels.shape != scores.shape or keep.shape != scores.shape[:1] or index.shape != keep.shape:
        raise ValueError(
            f"expected scores (B, K), labels (B, K), clip_valid (B,) and clip_index (B,), got {scores.shape}, "
            f"{labels.shape}, {keep.shape} and {index.shape}"
        )
    rows = np.flatnonzero(keep)
    order = rows[np.argsort(index[rows], kind="stable")]
    num_clips = len(clip_ids)
    if not np.array_equal(index[order], np.arange(num_clips)):
        unique, counts = np.unique(index[order], return_counts=True)
        missing, twice = np.setdiff1d(np.arange(num_clips), unique), unique[counts > 1]
        outside = unique[(unique < 0) | (unique >= num_clips)]
        raise ValueError(
            f"each of the {num_clips} clips must be scored once, got {rows.size} valid rows: {missing.size} missing "
            f"(positions {missing[:5].tolist()}), {twice.size} more than once ({twice[:5].tolist()}), "
            f"{outside.size} outside the split ({outside[:5].tolist()})"
        )
    return SplitPredictions(scores[order], labels[order].astype(np.uint8), tuple(clip_ids), tuple(activities))
