"""A model's predictions for every clip of a split, assembled from padded batches.

A clip that is missing or counted twice would silently bias every metric, so both are errors here.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, Real, Shaped

from musclemap_jax.eval import score_link

FUSED = "fused"
"""Name of the prediction of a model of several branches, beside the branches' names."""


class SplitPredictions(NamedTuple):
    """Scores and labels of the clips of one split, without padding.

    Attributes:
      scores: (n, K) float, higher means more likely; usually logits, averaged over views.
      labels: (n, K) 0 or 1; all zeros for a background clip.
      clip_ids: n unique names.
      activities: n names of activities, or empty if they are unknown.
      branch_scores: Branch -> its own (n, K) scores; empty for a model of one branch.
      baseline_scores: Baseline -> its own (n, K) scores (`baselines.py`); one without scores on the split is absent.
    """

    scores: Real[np.ndarray, "n K"]
    labels: Real[np.ndarray, "n K"]
    clip_ids: Sequence[str]
    activities: Sequence[str] = ()
    branch_scores: Mapping[str, Real[np.ndarray, "n K"]] = types.MappingProxyType({})
    baseline_scores: Mapping[str, Real[np.ndarray, "n K"]] = types.MappingProxyType({})

    def rescored(self, scores: str) -> SplitPredictions:
        """With the scores that clips are ranked by, from logits of the whole and of each branch; see `score_link`."""
        return self._replace(
            scores=score_link.from_logits(self.scores, scores),
            branch_scores={name: score_link.from_logits(logits, scores) for name, logits in self.branch_scores.items()},
        )

    def select(self, chosen: Bool[np.ndarray, " n"]) -> SplitPredictions:
        """The predictions of the chosen clips, in the same order; `chosen` is True for those."""
        rows = np.flatnonzero(chosen)
        return SplitPredictions(
            self.scores[rows],
            self.labels[rows],
            [self.clip_ids[row] for row in rows],
            [self.activities[row] for row in rows] if self.activities else (),
            {branch: of_branch[rows] for branch, of_branch in self.branch_scores.items()},
            {baseline: of_baseline[rows] for baseline, of_baseline in self.baseline_scores.items()},
        )


def from_padded(
    scores: Real[np.ndarray, "B K"],
    labels: Real[np.ndarray, "B K"],
    clip_valid: Shaped[np.ndarray, " B"],
    clip_index: Integer[np.ndarray, " B"],
    clip_ids: Sequence[str],
    activities: Sequence[str] = (),
    branch_scores: Mapping[str, Real[np.ndarray, "B K"]] = types.MappingProxyType({}),
) -> SplitPredictions:
    """Drops padding and sorts the clips into the split's order, whichever batches and processes they came from.

    Args:
      scores: Scores from all batches of all processes, concatenated.
      labels: 0 or 1.
      clip_valid: 1 for a real clip, 0 for padding.
      clip_index: Position in the split; ignored for padding.
      clip_ids: n names, in the split's order.
      activities: n names, in the split's order, or empty.
      branch_scores: Branch -> (B, K) its scores.

    Returns:
      The predictions of all n clips, in the split's order; scores keep their dtype, labels are uint8.

    Raises:
      ValueError: A clip of the split is missing or repeated, or the shapes do not agree.
    """
    shapes = scores.shape, labels.shape, clip_valid.shape, clip_index.shape
    if scores.ndim != 2 or shapes != (scores.shape, scores.shape, scores.shape[:1], scores.shape[:1]):
        got = "{}, {}, {} and {}".format(*shapes)
        raise ValueError(f"expected scores (B, K), labels (B, K), clip_valid (B,) and clip_index (B,), got {got}")
    rows = np.flatnonzero(clip_valid)
    order = rows[np.argsort(clip_index[rows], kind="stable")]
    num_clips = len(clip_ids)
    if not np.array_equal(clip_index[order], np.arange(num_clips)):
        unique, counts = np.unique(clip_index[order], return_counts=True)
        missing, twice = np.setdiff1d(np.arange(num_clips), unique), unique[counts > 1]
        outside = unique[(unique < 0) | (unique >= num_clips)]
        raise ValueError(
            f"each of the {num_clips} clips must be scored once, got {rows.size} valid rows: {missing.size} missing "
            f"(positions {missing[:5].tolist()}), {twice.size} more than once ({twice[:5].tolist()}), "
            f"{outside.size} outside the split ({outside[:5].tolist()})"
        )
    return SplitPredictions(
        scores[order],
        labels[order].astype(np.uint8),
        tuple(clip_ids),
        tuple(activities),
        {branch: of_branch[order] for branch, of_branch in branch_scores.items()},
    )


def check_predictions(split: str, predictions: SplitPredictions, num_regions: int) -> None:
    """Refuses predictions of a split, of its branches or of baselines on it that have no metrics.

    Args:
      split: Name of the split, for the error.
      predictions: Its predictions.
      num_regions: K.

    Raises:
      ValueError: No clips, shapes that differ, a repeated clip id, labels other than 0 and 1, or NaN scores.
    """
    _check_scores(split, predictions, num_regions)
    for kind, of_kind in (("branch", predictions.branch_scores), ("baseline", predictions.baseline_scores)):
        for name, scores in of_kind.items():
            _check_scores(f"{split}, {kind} {name}", predictions._replace(scores=scores), num_regions)


def _check_scores(name: str, predictions: SplitPredictions, num_regions: int) -> None:
    scores, labels, clip_ids, activities, *_ = predictions
    expected = (len(clip_ids), num_regions)
    if scores.shape != expected or labels.shape != expected:
        raise ValueError(
            f"{name}: expected scores and labels of shape {expected}, got {scores.shape} and {labels.shape}"
        )
    if len(activities) not in (0, len(clip_ids)):
        raise ValueError(
            f"{name}: expected an activity of each of {len(clip_ids)} clips or none, got {len(activities)}"
        )
    if len(clip_ids) == 0:
        raise ValueError(f"{name}: no clips were scored; an empty split has no metrics")
    twice, count = Counter(clip_ids).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{name}: clip {twice} was scored more than once")
    rows = np.flatnonzero(np.isnan(scores).any(axis=1))
    if rows.size:
        names = ", ".join(clip_ids[row] for row in rows[:5])
        raise ValueError(f"{name}: scores of {rows.size} of {len(clip_ids)} clips are NaN; the first are {names}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{name}: labels must be 0 or 1, got values {np.unique(labels)[:5].tolist()}")
