"""Differences of two models on the same clips, with intervals over activities.

Two models find the same activities hard, so their scores move together from one draw of activities to the next, and the
difference is known better than either score. Both are scored on the same draws (`bootstrap.draw_activities`), and the
interval is that of the differences of each repetition: the *paired* bootstrap.

Where both models were trained with several seeds, the runs of the same seed are a pair, and the difference is the mean
over the pairs. The interval then says how far that mean would move with other activities; how far it would move with
other seeds is the standard deviation over the pairs, which the interval does not contain.

Letters of shapes: R repetitions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from musclemap_jax.eval.bootstrap import Interval, interval
from musclemap_jax.eval.predictions import SplitPredictions


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """How much higher one model scores than another.

    Attributes:
      mean: The mean difference over the pairs, in [-1, 1].
      std: Standard deviation of the pairs' differences (n - 1); NaN of one pair.
      num_pairs: Number of pairs.
      interval: 95 % interval of the mean over activities; None with fewer than two activities.
    """

    mean: float
    std: float
    num_pairs: int
    interval: Interval | None


def paired_difference(
    differences: Sequence[float], drawn: Sequence[Float[np.ndarray, " R"] | None]
) -> PairedDifference:
    """The mean difference of several pairs.

    Args:
      differences: The difference of each pair on all clips; at least one.
      drawn: The difference of each pair in each repetition of the bootstrap; None with fewer than two activities.
    """
    mean, std = mean_and_std(differences)
    of_all = [each for each in drawn if each is not None]
    of_mean = interval(mean, np.mean(of_all, axis=0), lowest=-1.0) if len(of_all) == len(differences) else None
    return PairedDifference(mean, std, len(differences), of_mean)


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of some values; the deviation of one value is NaN."""
    array = np.asarray(values, np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else math.nan


def same_clips(one: SplitPredictions, other: SplitPredictions) -> bool:
    """Whether two models were scored on the same clips, in the same order, with the same labels and activities."""
    return (
        tuple(one.clip_ids) == tuple(other.clip_ids)
        and tuple(one.activities) == tuple(other.activities)
        and np.array_equal(one.labels, other.labels)
    )
