"""Metrics of an evaluation: average precision per muscle region and split, with what it has to be compared with.

The protocol is the paper's: the macro mean of the regions' average precision on known and new activities of val and
test, and the mean of both. A region without a positive has NaN, is excluded from the mean and shows a support of 0.
Intervals, the metrics of each activity and the baselines are ours; intervals and activities need the clips' activities.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from musclemap_jax.eval import average_precision as ap
from musclemap_jax.eval import score_link
from musclemap_jax.eval.bootstrap import Interval
from musclemap_jax.eval.by_activity import ActivityMetrics, metrics_by_activity
from musclemap_jax.eval.coverage import DecisionMetrics
from musclemap_jax.eval.headline import (
    MEANS,
    Difference,
    Headline,
    Scored,
    differences,
    mean_headlines,
    score_split,
    unscored,
)
from musclemap_jax.eval.json_values import nan_to_none, none_to_nan
from musclemap_jax.eval.predictions import SplitPredictions, check_predictions


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A baseline on a split, and the model beside it.

    Attributes:
      headline: The baseline's mAP; NaN where it has no score.
      above: How far the model is above it.
    """

    headline: Headline
    above: Difference


@dataclasses.dataclass(frozen=True)
class SplitMetrics:
    """Metrics of one split; the tuples have one entry per muscle region.

    Attributes:
      headline: The macro mean and its floors.
      micro_ap: Average precision of all (clip, region) pairs in one ranking.
      num_clips: Number of clips scored.
      average_precision: Average precision in [0, 1], NaN without a positive.
      support: Number of clips that show the region.
      random_floor: Expected average precision of a random order, NaN without a positive.
      all_ones_floor: Fraction of clips that show the region, NaN without a positive.
      interval: 95 % interval of the average precision over activities; None if fewer than two activities show the
        region.
      activities: Metrics of each activity, the worst first; none if they are unknown.
    """

    headline: Headline
    micro_ap: float
    num_clips: int
    average_precision: tuple[float, ...]
    support: tuple[int, ...]
    random_floor: tuple[float, ...]
    all_ones_floor: tuple[float, ...]
    interval: tuple[Interval | None, ...]
    activities: tuple[ActivityMetrics, ...]

    @property
    def chance(self) -> tuple[float, ...]:
        """The stronger of the two floors of each region."""
        return tuple(map(max, self.random_floor, self.all_ones_floor))


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Metrics of a whole evaluation.

    Attributes:
      regions: Names of the muscle regions, in label order.
      splits: Split -> its metrics, in the order given.
      means: Name of a mean of known and new (``MEANS``) -> its headline, if both splits were evaluated.
      branches: Branch -> split or mean -> the headline of the branch's own scores; empty for a model of one branch.
      baselines: Baseline (``baselines.TITLES``) -> split or mean -> its headline, and how far the model is above it.
      scores: What average precision is taken on, `logits` or `softmax` over the regions (``score_link.py``).
      other_scores: The other of the two -> split or mean -> the model's headline on it; empty where both rank alike.
      remarks: Sentences on what is missing here.
      decisions: Metrics of the run's decisions, if it has any.
    """

    regions: tuple[str, ...]
    splits: dict[str, SplitMetrics]
    means: dict[str, Headline]
    branches: dict[str, dict[str, Headline]] = dataclasses.field(default_factory=dict)
    baselines: dict[str, dict[str, Comparison]] = dataclasses.field(default_factory=dict)
    scores: str = score_link.LOGITS
    other_scores: dict[str, dict[str, Headline]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    decisions: DecisionMetrics | None = None

    def headlines(self) -> dict[str, Headline]:
        """Headlines of all splits and means, each mean right after its splits."""
        rows: dict[str, Headline] = {}
        for split, of_split in self.splits.items():
            rows[split] = of_split.headline
            for name, mean in self.means.items():
                if name not in rows and all(part in rows for part in MEANS[name]):
                    rows[name] = mean
        return rows

    def scalars(self) -> dict[str, float]:
        """The defined metrics under flat names such as "test_known/mAP", for TensorBoard and the run's scalars."""
        rows = {}
        for name, headline in self.headlines().items():
            rows[f"{name}/mAP"] = headline.mean_ap
            rows[f"{name}/mAP_above_chance"] = headline.above_chance
            for branch, headlines in self.branches.items():
                rows[f"{name}/mAP_{branch}"] = headlines[name].mean_ap
            for scores, headlines in self.other_scores.items():
                rows[f"{name}/mAP_on_{scores}"] = headlines[name].mean_ap
        rows |= {f"{name}/micro_AP": of_split.micro_ap for name, of_split in self.splits.items()}
        return {name: value for name, value in rows.items() if not math.isnan(value)}

    def to_json(self) -> str:
        """Strict JSON with NaN as null; equal metrics give equal text."""
        data = dataclasses.asdict(self)
        if self.decisions is None:
            del data["decisions"]
        return json.dumps(nan_to_none(data), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Metrics:
        """The exact inverse of :meth:`to_json`."""
        data = json.loads(text)
        decisions = data.get("decisions")
        return cls(
            tuple(data["regions"]),
            {name: _split_from_json(of_split) for name, of_split in data["splits"].items()},
            _headlines_from_json(data["means"]),
            {branch: _headlines_from_json(headlines) for branch, headlines in data["branches"].items()},
            {
                baseline: {name: _comparison_from_json(comparison) for name, comparison in comparisons.items()}
                for baseline, comparisons in data["baselines"].items()
            },
            data["scores"],
            {scores: _headlines_from_json(headlines) for scores, headlines in data["other_scores"].items()},
            tuple(data["remarks"]),
            DecisionMetrics.from_dict(decisions) if decisions else None,
        )


def compute_metrics(
    predictions: Mapping[str, SplitPredictions],
    regions: Sequence[str],
    scores: Sequence[str] = (score_link.LOGITS,),
    remarks: Sequence[str] = (),
) -> Metrics:
    """Computes all metrics of an evaluation.

    Args:
      predictions: Split -> predictions without padding (``predictions.from_padded``), in any order of the clips, with
        logits as scores.
      regions: K names of the muscle regions, in label order.
      scores: What average precision is taken on (``score_link.reported_scores``): the first counts, and headlines on a
        second are given beside it.
      remarks: Sentences on what is missing.

    Raises:
      ValueError: A split has no clips, shapes that differ, a repeated clip id, labels other than 0 and 1, or NaN
        scores; the message names the split and the clips.
    """
    for split, of_split in predictions.items():
        check_predictions(split, of_split, len(regions))
    counted, *others = scores
    ranked = {split: of_split.rescored(counted) for split, of_split in predictions.items()}
    model = {split: score_split(split, of_split) for split, of_split in ranked.items()}
    branches = {
        branch: _score(
            {split: of_split._replace(scores=of_split.branch_scores[branch]) for split, of_split in ranked.items()}
        )
        for branch in _names(of_split.branch_scores for of_split in ranked.values())
    }
    baselines = {
        name: {split: _score_baseline(name, split, ranked[split], model[split]) for split in ranked}
        for name in _names(of_split.baseline_scores for of_split in ranked.values())
    }
    return Metrics(
        tuple(regions),
        {split: _split_metrics(model[split], of_split, regions) for split, of_split in ranked.items()},
        mean_headlines(model),
        {branch: _headlines(scored) for branch, scored in branches.items()},
        {name: _comparisons(model, scored) for name, scored in baselines.items()},
        counted,
        {
            other: _headlines(_score({split: of_split.rescored(other) for split, of_split in predictions.items()}))
            for other in others
        },
        tuple(remarks),
    )


def _names(of_splits: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(of_splits)))


def _score(predictions: Mapping[str, SplitPredictions]) -> dict[str, Scored]:
    return {split: score_split(split, of_split) for split, of_split in predictions.items()}


def _score_baseline(name: str, split: str, predictions: SplitPredictions, model: Scored) -> Scored:
    scores = predictions.baseline_scores.get(name)
    return unscored(model) if scores is None else score_split(split, predictions._replace(scores=scores))


def _headlines(scored: Mapping[str, Scored]) -> dict[str, Headline]:
    return {split: of_split.headline for split, of_split in scored.items()} | mean_headlines(scored)


def _comparisons(model: Mapping[str, Scored], baseline: Mapping[str, Scored]) -> dict[str, Comparison]:
    above = differences(model, baseline)
    return {name: Comparison(headline, above[name]) for name, headline in _headlines(baseline).items()}


def _split_metrics(scored: Scored, predictions: SplitPredictions, regions: Sequence[str]) -> SplitMetrics:
    every_clip = np.ones(len(predictions.scores), bool)
    return SplitMetrics(
        headline=scored.headline,
        micro_ap=ap.micro_average_precision(predictions.scores, predictions.labels, every_clip),
        num_clips=len(every_clip),
        average_precision=scored.average_precision,
        support=scored.support,
        random_floor=scored.random_floor,
        all_ones_floor=scored.all_ones_floor,
        interval=scored.interval,
        activities=metrics_by_activity(predictions, regions),
    )


def _interval_from_json(data: Sequence[float] | None) -> Interval | None:
    return None if data is None else (data[0], data[1])


def _headline_from_json(data: Mapping[str, Any]) -> Headline:
    return Headline(**none_to_nan(data) | {"interval": _interval_from_json(data["interval"])})


def _headlines_from_json(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Headline]:
    return {name: _headline_from_json(headline) for name, headline in data.items()}


def _comparison_from_json(data: Mapping[str, Any]) -> Comparison:
    mean_ap, interval = none_to_nan(data["above"]["mean_ap"]), _interval_from_json(data["above"]["interval"])
    return Comparison(_headline_from_json(data["headline"]), Difference(mean_ap, interval))


def _split_from_json(data: Mapping[str, Any]) -> SplitMetrics:
    exact = {
        "headline": _headline_from_json(data["headline"]),
        "interval": tuple(map(_interval_from_json, data["interval"])),
        "activities": tuple(ActivityMetrics(**none_to_nan(activity)) for activity in data["activities"]),
    }
    return SplitMetrics(**none_to_nan(data) | exact)
