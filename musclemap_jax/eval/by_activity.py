"""Metrics of each activity: how well a clip's regions are ranked, and which of them are missed.

A clip with r regions has them all right if its r highest scores are theirs, so nothing here needs a threshold. Scores
of different regions are compared, as in `average_precision.micro_average_precision`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from musclemap_jax.eval.activities import activity_places
from musclemap_jax.eval.average_precision import macro_mean, per_region_average_precision
from musclemap_jax.eval.predictions import SplitPredictions


@dataclasses.dataclass(frozen=True)
class ActivityMetrics:
    """Metrics of the clips of one activity.

    Attributes:
      activity: Its name.
      num_clips: Number of clips.
      clip_ap: Mean over clips of the average precision of the clip's own regions among all regions; 1 if all active
        regions score above all others, NaN for an activity without active regions.
      regions: The regions that any clip shows.
      missed: Those of them that are not among the highest scores in at least half of the clips that show them, the
        most often missed first. A clip has as many highest scores as it has regions.
      in_their_place: Other regions that are among the highest scores in at least half of the clips, the most often
        first.
    """

    activity: str
    num_clips: int
    clip_ap: float
    regions: tuple[str, ...]
    missed: tuple[str, ...]
    in_their_place: tuple[str, ...]


def metrics_by_activity(predictions: SplitPredictions, regions: Sequence[str]) -> tuple[ActivityMetrics, ...]:
    """Metrics of every activity, the worst first; none if the activities are unknown.

    Args:
      predictions: Predictions of one split.
      regions: K names.
    """
    if not predictions.activities:
        return ()
    labels = predictions.labels == 1
    every_region = np.ones(len(regions), bool)
    clip_ap = per_region_average_precision(predictions.scores.T, predictions.labels.T, every_region)
    highest = _highest(predictions.scores, labels)
    places = activity_places(predictions.activities)
    rows = []
    for place in range(max(places) + 1):
        chosen = places == place
        shown, top = labels[chosen], highest[chosen]
        rows.append(
            ActivityMetrics(
                activity=min(itertools.compress(predictions.activities, chosen)),
                num_clips=int(chosen.sum()),
                clip_ap=macro_mean(np.sort(clip_ap[chosen])),  # in any order of the clips the same sum
                regions=tuple(name for name, any_clip in zip(regions, shown.any(axis=0), strict=True) if any_clip),
                missed=_often(shown & ~top, shown.sum(axis=0), regions),
                in_their_place=_often(top & ~shown, np.full(len(regions), len(shown)), regions),
            )
        )
    return tuple(sorted(rows, key=lambda row: (math.isnan(row.clip_ap), row.clip_ap, row.activity)))


def _highest(scores: np.ndarray, labels: Bool[np.ndarray, "n K"]) -> Bool[np.ndarray, "n K"]:
    """Regions among the r highest scores of a clip with r regions; of equal scores all or none."""
    ordered = -np.sort(-scores, axis=1)
    num_regions = labels.sum(axis=1)
    # The highest score that is outside; all are inside if the clip shows every region.
    padded = np.column_stack([ordered, np.full(len(ordered), -np.inf)])
    return scores > np.take_along_axis(padded, num_regions[:, None], axis=1)


def _often(found: Bool[np.ndarray, "n K"], of_clips: Shaped[np.ndarray, " K"], names: Sequence[str]) -> tuple[str, ...]:
    """Names found in at least half of `of_clips`, the most often found first."""
    fraction: Float64[np.ndarray, " K"] = found.sum(axis=0) / np.maximum(of_clips, 1)
    order = np.argsort(-fraction, kind="stable")
    return tuple(names[k] for k in order if fraction[k] >= 0.5)
