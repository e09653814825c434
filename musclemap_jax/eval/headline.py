"""The mAP of a split with its floors and interval, and how far the model is above something else on the same clips."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from musclemap_jax.eval import average_precision as ap
from musclemap_jax.eval import bootstrap
from musclemap_jax.eval.activities import activity_places
from musclemap_jax.eval.bootstrap import Interval
from musclemap_jax.eval.predictions import SplitPredictions

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
class Difference:
    """The model's mAP minus that of something else on the same clips.

    Attributes:
      mean_ap: The difference, in [-1, 1]; NaN if the other has no score.
      interval: Its 95 % interval over activities, which are the same for both in each repetition of the bootstrap; None
        with fewer than two activities.
    """

    mean_ap: float
    interval: Interval | None = None

    @property
    def is_above(self) -> bool:
        """Whether the model is better."""
        return self.mean_ap > 0

    @property
    def is_clear(self) -> bool:
        """Whether it is better in the whole interval; without an interval, the difference alone decides."""
        return (self.mean_ap if self.interval is None else self.interval[0]) > 0


class Scored(NamedTuple):
    """Average precision on a split; the tuples have one entry per muscle region, as in `metrics.SplitMetrics`.

    Attributes:
      headline: The macro mean.
      average_precision: In [0, 1], NaN without a positive.
      support: Number of clips that show the region.
      random_floor: Expected average precision of a random order.
      all_ones_floor: Fraction of clips that show the region.
      interval: None if fewer than two activities show the region.
      drawn: The macro mean in each repetition of the bootstrap.
    """

    headline: Headline
    average_precision: tuple[float, ...]
    support: tuple[int, ...]
    random_floor: tuple[float, ...]
    all_ones_floor: tuple[float, ...]
    interval: tuple[Interval | None, ...]
    drawn: Drawn


def score_split(split: str, predictions: SplitPredictions) -> Scored:
    """Scores one ranking of a split's clips by each region.

    Args:
      split: Name of the split, by which activities are drawn.
      predictions: Predictions whose scores rank the clips.
    """
    scores, labels = predictions.scores, predictions.labels
    num_clips = len(scores)
    per_region = ap.per_region_average_precision(scores, labels, np.ones(num_clips, bool))
    support = labels.astype(np.int64).sum(axis=0).tolist()
    random_floor = tuple(ap.random_ranking_ap(count, num_clips) for count in support)
    all_ones_floor = tuple(ap.constant_score_ap(count, num_clips) for count in support)
    mean_ap, *floors = map(ap.macro_mean, (per_region, np.array(random_floor), np.array(all_ones_floor)))
    drawn, intervals = _bootstrap(split, predictions, per_region)
    headline = Headline(mean_ap, *floors, interval=_interval(mean_ap, drawn))
    return Scored(headline, tuple(per_region.tolist()), tuple(support), random_floor, all_ones_floor, intervals, drawn)


def unscored(like: Scored) -> Scored:
    """What has no score on a split, which another was scored on."""
    return like._replace(headline=dataclasses.replace(like.headline, mean_ap=math.nan, interval=None), drawn=None)


def mean_headlines(scored: Mapping[str, Scored]) -> dict[str, Headline]:
    """The means whose splits are all there; known and new activities are drawn independently."""
    means = {}
    for name, drawn in _drawn_of_means(scored).items():
        known, new = (scored[part].headline for part in MEANS[name])
        floors = (known.random_floor + new.random_floor) / 2, (known.all_ones_floor + new.all_ones_floor) / 2
        mean_ap = (known.mean_ap + new.mean_ap) / 2
        means[name] = Headline(mean_ap, *floors, _interval(mean_ap, drawn))
    return means


def differences(model: Mapping[str, Scored], other: Mapping[str, Scored]) -> dict[str, Difference]:
    """Split or mean -> how far the model is above the other; both were scored on the same splits."""
    drawn = {name: (model[name].drawn, other[name].drawn) for name in model}
    means, of_other = _drawn_of_means(model), _drawn_of_means(other)
    drawn |= {name: (means[name], of_other[name]) for name in means}
    headlines = [{name: each.headline for name, each in of.items()} | mean_headlines(of) for of in (model, other)]
    found = {}
    for name, (ours, theirs) in drawn.items():
        mean_ap = headlines[0][name].mean_ap - headlines[1][name].mean_ap
        paired = None if ours is None or theirs is None else ours - theirs
        found[name] = Difference(mean_ap, _interval(mean_ap, paired, lowest=-1.0))
    return found


def _drawn_of_means(scored: Mapping[str, Scored]) -> dict[str, Drawn]:
    drawn: dict[str, Drawn] = {}
    for name, parts in MEANS.items():
        if all(part in scored for part in parts):
            known, new = (scored[part].drawn for part in parts)
            drawn[name] = None if known is None or new is None else (known + new) / 2
    return drawn


def _interval(estimate: float, drawn: Drawn, lowest: float = 0.0) -> Interval | None:
    return None if drawn is None else bootstrap.interval(estimate, drawn, lowest)


def _bootstrap(
    split: str, predictions: SplitPredictions, per_region: Float64[np.ndarray, " K"]
) -> tuple[Drawn, tuple[Interval | None, ...]]:
    """The macro mean in each repetition, None with fewer than two activities, and the interval of each region."""
    places, labels = activity_places(predictions.activities), predictions.labels
    if len(set(places)) < 2:
        return None, (None,) * labels.shape[1]
    draws = bootstrap.draw_activities(split, predictions.activities)
    drawn = bootstrap.drawn_average_precision(predictions.scores, labels, predictions.activities, draws)
    several = [len(set(places[column == 1])) > 1 for column in labels.T]
    columns = zip(per_region, drawn.T, several, strict=True)
    intervals = [_interval(value, column if any_two else None) for value, column, any_two in columns]
    return bootstrap.macro_means(drawn), tuple(intervals)
