"""What decisions are worth on clips that did not calibrate them: recall, precision, regions named, calibration error.

The splits val_new and test_new share their activities. So new activities are scored by halves: decisions calibrated on
the val_new clips of one half of the activities are scored on the clips of the other half, both ways. The decisions that
a run stores are calibrated on both halves, with twice the activities.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Real

from musclemap_jax.eval import score_link
from musclemap_jax.eval.activities import count_activities, in_first_half
from musclemap_jax.eval.calibration import expected_calibration_error
from musclemap_jax.eval.decisions import Decisions, calibrate
from musclemap_jax.eval.named_regions import SetMetrics, all_regions, most_frequent_regions, set_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.taxonomy import NEW_SPLITS

SCORED = ("test_known", "test_new")
HALVES = ("test_new, first half", "test_new, second half")


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Sets of regions on some clips, and the sets that need no model.

    Attributes:
      num_activities: Number of activities of the clips.
      num_clips: Number of clips.
      named: The regions that the decisions name.
      most_frequent: The regions most frequent in training, as many as the same recall takes.
      all_regions: Every region.
    """

    num_activities: int
    num_clips: int
    named: SetMetrics
    most_frequent: SetMetrics
    all_regions: SetMetrics


@dataclasses.dataclass(frozen=True)
class DecisionMetrics:
    """Metrics of a run's decisions.

    Attributes:
      rule: How regions become active, in one sentence.
      recall: The stated recall.
      guaranteed_recall: Lower bound on the expected recall of a further activity, NaN if there is none.
      method: Method of the calibration.
      coverage: Split, or half of test_new, -> how its clips are covered.
      calibration_error: Split -> expected calibration error (before, after).
    """

    rule: str
    recall: float
    guaranteed_recall: float
    method: str
    coverage: dict[str, Coverage]
    calibration_error: dict[str, tuple[float, float]]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DecisionMetrics:
        """The inverse of `dataclasses.asdict` with NaN as None."""
        return cls(
            rule=data["rule"],
            recall=data["recall"],
            guaranteed_recall=_number(data["guaranteed_recall"]),
            method=data["method"],
            coverage={name: _coverage_from_dict(coverage) for name, coverage in data["coverage"].items()},
            calibration_error={split: (before, after) for split, (before, after) in data["calibration_error"].items()},
        )


def assess(
    decisions: Decisions, predictions: Mapping[str, SplitPredictions], train_frequency: Real[np.ndarray, " K"]
) -> DecisionMetrics:
    """Metrics of decisions on every split whose activities or clips did not calibrate what is scored.

    Args:
      decisions: The run's decisions.
      predictions: Split -> predictions with logits as scores and with activities, among them the split of the
        decisions.
      train_frequency: (K,) How often each region occurs in training.
    """
    coverage, errors = {}, {}
    for split, of_split in predictions.items():
        scored = _scored(decisions, predictions, split)
        if scored is None:
            continue
        active, probabilities, first_half = scored
        before = score_link.probabilities(score_link.log_odds(of_split.scores, decisions.link))
        errors[split] = (
            expected_calibration_error(before, of_split.labels),
            expected_calibration_error(probabilities, of_split.labels),
        )
        if split in SCORED:
            coverage[split] = _coverage(active, of_split, train_frequency)
            for name, half in zip(HALVES, (first_half, ~first_half), strict=True):
                if first_half.any():
                    coverage[name] = _coverage(active[half], of_split.select(half), train_frequency)
    return DecisionMetrics(
        rule=decisions.rule(),
        recall=decisions.recall,
        guaranteed_recall=decisions.guaranteed_recall,
        method=decisions.calibration.method,
        coverage=coverage,
        calibration_error=errors,
    )


def _scored(
    decisions: Decisions, predictions: Mapping[str, SplitPredictions], split: str
) -> tuple[Bool[np.ndarray, "n K"], Float64[np.ndarray, "n K"], Bool[np.ndarray, " n"]] | None:
    """Active regions and probabilities of a split's clips, and its first half if it was scored by halves.

    None if the decisions were calibrated on these clips, or on these activities and there are no two halves of them.
    """
    of_split = predictions[split]
    if not (decisions.covers_new_activities and split in NEW_SPLITS):
        if split == decisions.split:
            return None
        nothing = np.zeros(len(of_split.clip_ids), bool)
        return decisions.active(of_split.scores), decisions.probabilities(of_split.scores), nothing
    calibrating = predictions[decisions.split]
    every_activity = [*calibrating.activities, *of_split.activities]
    first_half = in_first_half(of_split.activities, every_activity)
    calibrates = in_first_half(calibrating.activities, every_activity)
    active, probabilities = np.zeros(of_split.scores.shape, bool), np.zeros(of_split.scores.shape)
    for rows, half in ((first_half, ~calibrates), (~first_half, calibrates)):
        if not rows.any() or not calibrating.labels[half].any():
            return None
        of_half = _recalibrated(decisions, calibrating.select(half))
        active[rows] = of_half.active(of_split.scores[rows])
        probabilities[rows] = of_half.probabilities(of_split.scores[rows])
    return active, probabilities, first_half


def _recalibrated(decisions: Decisions, predictions: SplitPredictions) -> Decisions:
    """Decisions like the given ones, calibrated on other clips."""
    return calibrate(
        predictions,
        decisions.regions,
        link=decisions.link,
        recall=decisions.recall,
        split=decisions.split,
        date=decisions.date,
    )


def _coverage(
    active: Bool[np.ndarray, "n K"], predictions: SplitPredictions, train_frequency: Real[np.ndarray, " K"]
) -> Coverage:
    labels, activities = predictions.labels, predictions.activities
    named = set_metrics(active, labels, activities)
    return Coverage(
        num_activities=count_activities(activities),
        num_clips=len(labels),
        named=named,
        most_frequent=most_frequent_regions(train_frequency, labels, activities, named.recall),
        all_regions=all_regions(labels, activities),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _coverage_from_dict(data: Mapping[str, Any]) -> Coverage:
    sets: Sequence[str] = ("named", "most_frequent", "all_regions")
    metrics = {name: SetMetrics(**{key: _number(value) for key, value in data[name].items()}) for name in sets}
    return Coverage(num_activities=data["num_activities"], num_clips=data["num_clips"], **metrics)
