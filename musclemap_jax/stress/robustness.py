"""The result of a stress test: mAP against the strength of each perturbation, of the model and of each branch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from musclemap_jax.eval.bootstrap import Interval
from musclemap_jax.eval.metrics import Headline, Metrics
from musclemap_jax.stress.perturbations.perturbation import Perturbation


@dataclasses.dataclass(frozen=True)
class Curve:
    """mAP against the strength of one perturbation.

    Attributes:
      perturbation: Name of the perturbation.
      split: The split, or `test_mean` or `val_mean` for the mean of known and new.
      branch: Name of the branch whose scores they are, or `FUSED`.
      strengths: The strengths, from 0, which is the clean evaluation.
      mean_ap: mAP at each strength, in [0, 1].
      intervals: Its 95 % intervals over activities; None where there is none.
      chance: The stronger floor of the split (`eval.metrics.Headline.chance`).
    """

    perturbation: str
    split: str
    branch: str
    strengths: tuple[float, ...]
    mean_ap: tuple[float, ...]
    intervals: tuple[Interval | None, ...]
    chance: float

    @property
    def half_strength(self) -> float:
        """The strength at which half of what the clean mAP has above chance is lost, between strengths linear.

        Infinite if the strongest perturbation does not do that; NaN if the clean mAP is not above chance.
        """
        above = np.array(self.mean_ap) - self.chance
        if not above[0] > 0:
            return math.nan
        lost = np.flatnonzero(above <= above[0] / 2)
        if not lost.size:
            return math.inf
        after = int(lost[0])
        fraction = (above[after - 1] - above[0] / 2) / (above[after - 1] - above[after])
        return float(self.strengths[after - 1] + fraction * (self.strengths[after] - self.strengths[after - 1]))


@dataclasses.dataclass(frozen=True)
class Robustness:
    """A stress test.

    Attributes:
      scored: What was tested, such as ``newest checkpoint, step 2,000``.
      seed: Seed of what is random.
      num_clips: Split -> number of clips.
      perturbations: The perturbations, in the order of the table.
      curves: The curves: by perturbation, then split, then branch, the model first.
    """

    scored: str
    seed: int
    num_clips: Mapping[str, int]
    perturbations: tuple[Perturbation, ...]
    curves: tuple[Curve, ...]

    @property
    def splits(self) -> list[str]:
        """Splits and means, in the order of the curves."""
        return list(dict.fromkeys(curve.split for curve in self.curves))

    @property
    def branches(self) -> list[str]:
        """The model and its branches, in the order of the curves."""
        return list(dict.fromkeys(curve.branch for curve in self.curves))

    def curve(self, perturbation: str, split: str, branch: str) -> Curve:
        """The curve of these names."""
        names = (perturbation, split, branch)
        return next(each for each in self.curves if (each.perturbation, each.split, each.branch) == names)

    def to_json(self) -> str:
        """Strict JSON: NaN and infinite numbers are null."""
        perturbations = {}
        for each in self.perturbations:
            of_each = [curve for curve in self.curves if curve.perturbation == each.name]
            perturbations[each.name] = {
                "description": each.description,
                "unit": each.unit,
                "modalities": each.modalities,
                "strengths": (0.0, *each.strengths),
                "curves": [_curve_data(curve) for curve in of_each],
            }
        data = {"scored": self.scored, "seed": self.seed, "num_clips": dict(self.num_clips)}
        return json.dumps(data | {"perturbations": perturbations}, indent=2, allow_nan=False) + "\n"


def _curve_data(curve: Curve) -> dict[str, Any]:
    return {
        "split": curve.split,
        "branch": curve.branch,
        "mAP": [_finite(value) for value in curve.mean_ap],
        "interval": curve.intervals,
        "chance": _finite(curve.chance),
        "half_strength": _finite(curve.half_strength),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def curves_of(perturbation: str, whole: str, clean: Metrics, changed: Mapping[float, Metrics]) -> list[Curve]:
    """The curves of one perturbation.

    Args:
      perturbation: Name of the perturbation.
      whole: Name of the model's own scores.
      clean: Metrics of the clips as they are.
      changed: Strength -> metrics.
    """
    strengths = (0.0, *changed)
    metrics = (clean, *changed.values())
    curves = []
    for split in clean.headlines():
        for branch in (whole, *clean.branches):
            found = [_headline(each, split, None if branch == whole else branch) for each in metrics]
            values, intervals = zip(*((each.mean_ap, each.interval) for each in found), strict=True)
            curves.append(Curve(perturbation, split, branch, strengths, values, intervals, found[0].chance))
    return curves


def _headline(metrics: Metrics, split: str, branch: str | None) -> Headline:
    return metrics.headlines()[split] if branch is None else metrics.branches[branch][split]
