"""Metrics of an evaluation: average precision per muscle region and split, with the floors that chance reaches.

The protocol is the paper's: the macro mean of the regions' average precision on known and new activities of val and
test, and the mean of both. A region without a positive has NaN, is excluded from the mean and shows a support of 0.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musclemap_jax.eval import average_precision as ap
from musclemap_jax.eval.predictions import SplitPredictions

MEANS: dict[str, tuple[str, str]] = {"val_mean": ("val_known", "val_new"), "test_mean": ("test_known", "test_new")}
"""Name of a mean -> the splits that it averages."""


@dataclasses.dataclass(frozen=True)
class Headline:
    """One mAP and the floors it has to beat, all in [0, 1]; NaN if no region has a positive.

    Attributes:
      mean_ap: Macro mean of average precision over the regions with a positive.
      random_floor: The expected mean_ap of a random order of the clips (exact, no draws).
      all_ones_floor: The mean_ap of a model that gives every clip the same score: the mean fraction of positives.
    """

    mean_ap: float
    random_floor: float
    all_ones_floor: float

    @property
    def above_all_ones(self) -> float:
        """The difference of mean_ap to the all-ones floor."""
        return self.mean_ap - self.all_ones_floor


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
    """

    headline: Headline
    micro_ap: float
    num_clips: int
    average_precision: tuple[float, ...]
    support: tuple[int, ...]
    random_floor: tuple[float, ...]
    all_ones_floor: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Metrics of a whole evaluation.

    Attributes:
      regions: Names of the muscle regions, in label order.
      splits: Split -> its metrics, in the order given.
      means: Name of a mean of known and new (``MEANS``) -> its headline, if both splits were evaluated.
    """

    regions: tuple[str, ...]
    splits: dict[str, SplitMetrics]
    means: dict[str, Headline]

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
            rows[f"{name}/mAP_above_all_ones"] = headline.above_all_ones
        rows |= {f"{name}/micro_AP": of_split.micro_ap for name, of_split in self.splits.items()}
        return {name: value for name, value in rows.items() if not math.isnan(value)}

    def to_json(self) -> str:
        """Strict JSON with NaN as null; equal metrics give equal text."""
        return json.dumps(_nan_to_none(dataclasses.asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Metrics:
        """The exact inverse of :meth:`to_json`."""
        data = _none_to_nan(json.loads(text))
        splits = {
            name: SplitMetrics(**of_split | {"headline": Headline(**of_split["headline"])})
            for name, of_split in data["splits"].items()
        }
        means = {name: Headline(**headline) for name, headline in data["means"].items()}
        return cls(data["regions"], splits, means)


def compute_metrics(predictions: Mapping[str, SplitPredictions], regions: Sequence[str]) -> Metrics:
    """Computes all metrics of an evaluation.

    Args:
      predictions: Split -> predictions without padding (``predictions.from_padded``), in any order of the clips.
      regions: K names of the muscle regions, in label order.

    Raises:
      ValueError: A split has no clips, shapes that differ, a repeated clip id, labels other than 0 and 1, or NaN
        scores; the message names the split and the clips.
    """
    splits = {split: _split_metrics(split, of_split, len(regions)) for split, of_split in predictions.items()}
    means = {
        name: _mean_headline([splits[part].headline for part in parts])
        for name, parts in MEANS.items()
        if all(part in splits for part in parts)
    }
    return Metrics(tuple(regions), splits, means)


def _split_metrics(split: str, predictions: SplitPredictions, num_regions: int) -> SplitMetrics:
    _check(split, predictions, num_regions)
    scores, labels = predictions.scores, predictions.labels
    num_clips = len(scores)
    every_clip = np.ones(num_clips, bool)
    per_region = ap.per_region_average_precision(scores, labels, every_clip)
    support = labels.astype(np.int64).sum(axis=0).tolist()
    random_floor = [ap.random_ranking_ap(count, num_clips) for count in support]
    all_ones_floor = [ap.constant_score_ap(count, num_clips) for count in support]
    return SplitMetrics(
        headline=Headline(*map(ap.macro_mean, (per_region, np.array(random_floor), np.array(all_ones_floor)))),
        micro_ap=ap.micro_average_precision(scores, labels, every_clip),
        num_clips=num_clips,
        average_precision=tuple(per_region.tolist()),
        support=tuple(support),
        random_floor=tuple(random_floor),
        all_ones_floor=tuple(all_ones_floor),
    )


def _check(split: str, predictions: SplitPredictions, num_regions: int) -> None:
    scores, labels, clip_ids, _ = predictions
    expected = (len(clip_ids), num_regions)
    if scores.shape != expected or labels.shape != expected:
        raise ValueError(
            f"{split}: expected scores and labels of shape {expected}, got {scores.shape} and {labels.shape}"
        )
    if len(clip_ids) == 0:
        raise ValueError(f"{split}: no clips were scored; an empty split has no metrics")
    twice, count = Counter(clip_ids).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{split}: clip {twice} was scored more than once")
    rows = np.flatnonzero(np.isnan(scores).any(axis=1))
    if rows.size:
        names = ", ".join(clip_ids[row] for row in rows[:5])
        raise ValueError(f"{split}: scores of {rows.size} of {len(clip_ids)} clips are NaN; the first are {names}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{split}: labels must be 0 or 1, got values {np.unique(labels)[:5].tolist()}")


def _mean_headline(parts: Sequence[Headline]) -> Headline:
    columns = zip(*(dataclasses.astuple(part) for part in parts), strict=True)
    return Headline(*(sum(column) / len(parts) for column in columns))


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
