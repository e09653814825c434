"""Metrics of an evaluation: average precision per muscle region and split, with the floors that chance reaches.

The protocol is the paper's: the macro mean of the regions' average precision on known and new activities of val and
test, and the mean of both. A region without a positive has NaN, is excluded from the mean and shows a support of 0.
Intervals and the metrics of each activity are ours; they need the clips' activities.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from musclemap_jax.eval import average_precision as ap
from musclemap_jax.eval import bootstrap
from musclemap_jax.eval.bootstrap import Interval
from musclemap_jax.eval.by_activity import ActivityMetrics, metrics_by_activity
from musclemap_jax.eval.coverage import DecisionMetrics
from musclemap_jax.eval.predictions import SplitPredictions, check_predictions

MEANS: dict[str, tuple[str, str]] = {"val_mean": ("val_known", "val_new"), "test_mean": ("test_known", "test_new")}
"""Name of a mean -> the splits that it averages."""
Drawn = Float64[np.ndarray, " R"] | None
"""The macro mean in each repetition of the bootstrap; None with fewer than two activities."""


@dataclasses.dataclass(frozen=True)
class Headline:
    """One mAP and the floors it has to beat, all in [0, 1]; NaN if no region has a positive.

    Attributes:
      mean_ap: Macro mean of average precision over the regions with a positive.
      random_floor: The expected mean_ap of a random order of the clips (exact, no draws).
      all_ones_floor: The mean_ap of a model that gives every clip the same score: the mean fraction of positives.
      interval: 95 % interval of mean_ap over activities (``bootstrap.py``); None with fewer than two activities.
    """

    mean_ap: float
    random_floor: float
    all_ones_floor: float
    interval: Interval | None = None

    @property
    def chance(self) -> float:
        """The stronger of the two floors."""
        return max(self.random_floor, self.all_ones_floor)

    @property
    def above_chance(self) -> float:
        """The difference of mean_ap to the stronger floor."""
        return self.mean_ap - self.chance


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
      decisions: Metrics of the run's decisions, if it has any.
    """

    regions: tuple[str, ...]
    splits: dict[str, SplitMetrics]
    means: dict[str, Headline]
    branches: dict[str, dict[str, Headline]] = dataclasses.field(default_factory=dict)
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
        rows |= {f"{name}/micro_AP": of_split.micro_ap for name, of_split in self.splits.items()}
        return {name: value for name, value in rows.items() if not math.isnan(value)}

    def to_json(self) -> str:
        """Strict JSON with NaN as null; equal metrics give equal text."""
        data = dataclasses.asdict(self)
        if self.decisions is None:
            del data["decisions"]
        return json.dumps(_nan_to_none(data), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Metrics:
        """The exact inverse of :meth:`to_json`."""
        data = json.loads(text)
        decisions = data.pop("decisions", None)
        return cls(
            tuple(data["regions"]),
            {name: _split_from_json(of_split) for name, of_split in data["splits"].items()},
            _headlines_from_json(data["means"]),
            {branch: _headlines_from_json(headlines) for branch, headlines in data["branches"].items()},
            DecisionMetrics.from_dict(decisions) if decisions else None,
        )


def compute_metrics(predictions: Mapping[str, SplitPredictions], regions: Sequence[str]) -> Metrics:
    """Computes all metrics of an evaluation.

    Args:
      predictions: Split -> predictions without padding (``predictions.from_padded``), in any order of the clips.
      regions: K names of the muscle regions, in label order.

    Raises:
      ValueError: A split has no clips, shapes that differ, a repeated clip id, labels other than 0 and 1, or NaN
        scores; the message names the split and the clips.
    """
    splits: dict[str, SplitMetrics] = {}
    branches: dict[str, dict[str, Headline]] = {}
    drawn: dict[str, dict[str, Drawn]] = {}
    for split, of_split in predictions.items():
        check_predictions(split, of_split, len(regions))
        splits[split], of_whole = _split_metrics(split, of_split, regions)
        drawn.setdefault("", {})[split] = of_whole
        for branch, scores in of_split.branch_scores.items():
            of_branch = of_split._replace(scores=scores)
            check_predictions(f"{split}, branch {branch}", of_branch, len(regions))
            metrics, drawn.setdefault(branch, {})[split] = _split_metrics(split, of_branch, regions)
            branches.setdefault(branch, {})[split] = metrics.headline
    means = _mean_headlines({split: of_split.headline for split, of_split in splits.items()}, drawn[""])
    branches = {name: headlines | _mean_headlines(headlines, drawn[name]) for name, headlines in branches.items()}
    return Metrics(tuple(regions), splits, means, branches)


def _split_metrics(split: str, predictions: SplitPredictions, regions: Sequence[str]) -> tuple[SplitMetrics, Drawn]:
    """The metrics of a split or of a branch on it, and the macro mean in each repetition of the bootstrap."""
    scores, labels = predictions.scores, predictions.labels
    num_clips = len(scores)
    every_clip = np.ones(num_clips, bool)
    per_region = ap.per_region_average_precision(scores, labels, every_clip)
    support = labels.astype(np.int64).sum(axis=0).tolist()
    random_floor = [ap.random_ranking_ap(count, num_clips) for count in support]
    all_ones_floor = [ap.constant_score_ap(count, num_clips) for count in support]
    mean_ap, *floors = map(ap.macro_mean, (per_region, np.array(random_floor), np.array(all_ones_floor)))
    macro, intervals = _bootstrap(split, predictions, per_region)
    metrics = SplitMetrics(
        headline=Headline(mean_ap, *floors, interval=_interval(mean_ap, macro)),
        micro_ap=ap.micro_average_precision(scores, labels, every_clip),
        num_clips=num_clips,
        average_precision=tuple(per_region.tolist()),
        support=tuple(support),
        random_floor=tuple(random_floor),
        all_ones_floor=tuple(all_ones_floor),
        interval=intervals,
        activities=metrics_by_activity(predictions, regions),
    )
    return metrics, macro


def _interval(estimate: float, drawn: Drawn) -> Interval | None:
    return None if drawn is None else bootstrap.interval(estimate, drawn)


def _bootstrap(
    split: str, predictions: SplitPredictions, per_region: Float64[np.ndarray, " K"]
) -> tuple[Drawn, tuple[Interval | None, ...]]:
    """The macro mean in each repetition, None with fewer than two activities, and the interval of each region."""
    activities, labels = np.asarray(predictions.activities, str), predictions.labels
    if len(set(predictions.activities)) < 2:
        return None, (None,) * labels.shape[1]
    draws = bootstrap.draw_activities(split, predictions.activities)
    drawn = bootstrap.drawn_average_precision(predictions.scores, labels, predictions.activities, draws)
    several = [len(set(activities[column == 1])) > 1 for column in labels.T]
    columns = zip(per_region, drawn.T, several, strict=True)
    intervals = [_interval(value, column if any_two else None) for value, column, any_two in columns]
    return bootstrap.macro_means(drawn), tuple(intervals)


def _mean_headlines(headlines: Mapping[str, Headline], drawn: Mapping[str, Drawn]) -> dict[str, Headline]:
    """The means whose splits are all there; known and new activities are drawn independently."""
    means = {}
    for name, parts in MEANS.items():
        if all(part in headlines for part in parts):
            known, new = (headlines[part] for part in parts)
            floors = (known.random_floor + new.random_floor) / 2, (known.all_ones_floor + new.all_ones_floor) / 2
            mean_ap = (known.mean_ap + new.mean_ap) / 2
            of_known, of_new = (drawn[part] for part in parts)
            of_both = None if of_known is None or of_new is None else (of_known + of_new) / 2
            means[name] = Headline(mean_ap, *floors, _interval(mean_ap, of_both))
    return means


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _none_to_nan(value: Any) -> Any:
    """The inverse; lists become tuples."""
    if isinstance(value, dict):
        return {key: _none_to_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(map(_none_to_nan, value))
    return math.nan if value is None else value


def _interval_from_json(data: Sequence[float] | None) -> Interval | None:
    return None if data is None else (data[0], data[1])


def _headline_from_json(data: Mapping[str, Any]) -> Headline:
    return Headline(**_none_to_nan(data) | {"interval": _interval_from_json(data["interval"])})


def _headlines_from_json(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Headline]:
    return {name: _headline_from_json(headline) for name, headline in data.items()}


def _split_from_json(data: Mapping[str, Any]) -> SplitMetrics:
    exact = {
        "headline": _headline_from_json(data["headline"]),
        "interval": tuple(map(_interval_from_json, data["interval"])),
        "activities": tuple(ActivityMetrics(**_none_to_nan(activity)) for activity in data["activities"]),
    }
    return SplitMetrics(**_none_to_nan(data) | exact)
