"""What a model's logits mean: probabilities and active regions, as calibrated on validation clips when a run ends.

Probabilities are calibrated (`calibration.py`); a region is active if its score reaches a threshold that names a stated
fraction of the active regions (`conformal.py`). Thresholds follow the calibrated log-odds, so an active region is never
less probable than one that is not active.

Letters of shapes: n clips, K muscle regions; W stands for any leading axes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Bool, Float64, Real

from musclemap_jax.errors import UserError
from musclemap_jax.eval import score_link
from musclemap_jax.eval.activities import count_activities
from musclemap_jax.eval.calibration import METHODS, Calibration, fit_calibration
from musclemap_jax.eval.conformal import guaranteed_recall, recall_threshold
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.taxonomy import NEW_SPLITS


@dataclasses.dataclass(frozen=True)
class Decisions:
    """A rule that turns logits into probabilities and active regions.

    Attributes:
      regions: K names of the muscle regions.
      link: How the model's logits become scores, one of `score_link.LINKS`.
      calibration: How scores become probabilities.
      thresholds: K thresholds on the score; a region whose score reaches its threshold is active.
      recall: The stated recall: the mean fraction of active regions that the calibration activities' sets contain.
      split: The split that it was calibrated on.
      num_activities: Number of its activities that have a recall: those with an active region.
      num_clips: Number of its clips.
      date: Day of the calibration, YYYY-MM-DD.
    """

    regions: tuple[str, ...]
    link: str
    calibration: Calibration
    thresholds: tuple[float, ...]
    recall: float
    split: str
    num_activities: int
    num_clips: int
    date: str

    def __post_init__(self) -> None:
        if self.link not in score_link.LINKS or self.calibration.method not in METHODS:
            raise ValueError(f"unknown link {self.link!r} or calibration {self.calibration.method!r}")
        lengths = {len(self.regions), len(self.thresholds), len(self.calibration.slopes)}
        if lengths != {len(self.calibration.intercepts)}:
            raise ValueError("expected a threshold, slope and intercept for each region")
        if not 0 < self.recall <= 1 or min(self.calibration.slopes, default=0) <= 0:
            raise ValueError("expected a recall in (0, 1] and positive slopes")

    def probabilities(self, logits: Real[np.ndarray, "*W K"]) -> Float64[np.ndarray, "*W K"]:
        """Calibrated probabilities of (..., K) logits; NaN where those are NaN."""
        return score_link.probabilities(self.calibration.log_odds(self._scores(logits)))

    def active(self, logits: Real[np.ndarray, "*W K"]) -> Bool[np.ndarray, "*W K"]:
        """Which regions are active, from (..., K) logits; False where those are NaN."""
        return self._scores(logits) >= np.array(self.thresholds)

    @property
    def probability_thresholds(self) -> Float64[np.ndarray, " K"]:
        """The calibrated probability from which on each region is active."""
        return score_link.probabilities(self.calibration.log_odds(np.array(self.thresholds)))

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if logits.shape[-1:] != (len(self.regions),):
            raise ValueError(f"expected logits of {len(self.regions)} regions, got shape {logits.shape}")
        return score_link.log_odds(logits, self.link)

    @property
    def covers_new_activities(self) -> bool:
        """Whether it was calibrated on activities that are not in training."""
        return self.split in NEW_SPLITS

    @property
    def guaranteed_recall(self) -> float:
        """Lower bound on the expected recall of a further activity; NaN where the theorem does not apply.

        It applies to one threshold for all regions, which only the stated recall chose: with a slope and an intercept
        for each region, the calibration activities have also shaped the score.
        """
        common = self.calibration.method == "temperature"
        return guaranteed_recall(self.recall, self.num_activities) if common else math.nan

    def rule(self) -> str:
        """One sentence that says how regions become active."""
        kind = "new" if self.covers_new_activities else "known"
        rule = (
            f"A region is active if its score reaches a threshold that names {_percent(self.recall)} % of the active "
            f"regions on average over {self.num_activities} {kind} activities ({self.num_clips} clips of {self.split})"
        )
        if not self.covers_new_activities:
            return f"{rule}; warning: this does not cover new activities, of which far fewer regions may be named."
        if math.isnan(self.guaranteed_recall):
            return f"{rule}; nothing is guaranteed for further activities."
        return (
            f"{rule}; for a further activity like those, conformal risk control guarantees "
            f"{_percent(self.guaranteed_recall)} % on average."
        )

    def to_json(self) -> str:
        """Strict JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "decisions.json") -> Decisions:
        """The exact inverse of :meth:`to_json`.

        Args:
          text: The JSON.
          where: What holds it, for the error.

        Raises:
          UserError: Anything but what `to_json` writes.
        """
        try:
            data = json.loads(text, parse_constant=_refuse)
            values = _fields(cls, data)
            values["calibration"] = Calibration(**_fields(Calibration, values["calibration"]))
            return cls(**values)
        except ValueError as error:
            raise UserError(f"{where}: {error}: evaluate the run again, with --mode=eval") from error


def calibrate(
    predictions: SplitPredictions, regions: Sequence[str], *, link: str, recall: float, split: str, date: str
) -> Decisions:
    """Calibrates decisions on the clips of a validation split.

    Args:
      predictions: Predictions with logits as scores and with activities.
      regions: K names of the muscle regions.
      link: How the model's logits become scores, one of `score_link.LINKS`.
      recall: The recall to reach, in (0, 1].
      split: Name of the split.
      date: Day of the calibration, YYYY-MM-DD.

    Raises:
      ValueError: No clip has an active region, or a logit is not finite.
    """
    labels, activities = predictions.labels, predictions.activities
    scores = score_link.log_odds(predictions.scores, link)
    if not np.isfinite(scores).all():
        raise ValueError(f"{split}: logits must be finite")
    calibration, held_out = fit_calibration(scores, labels, activities)
    if calibration.method == "temperature":
        thresholds = np.full(len(regions), recall_threshold(scores, labels, activities, recall))
    else:
        # A clip's own activity would make its regions look easier to name than those of a further one.
        thresholds = calibration.scores(recall_threshold(held_out, labels, activities, recall))
    with_recall = list(itertools.compress(activities, (labels == 1).any(axis=1).tolist()))
    return Decisions(
        regions=tuple(regions),
        link=link,
        calibration=calibration,
        thresholds=tuple(thresholds.tolist()),
        recall=recall,
        split=split,
        num_activities=count_activities(with_recall),
        num_clips=len(labels),
        date=date,
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}".removesuffix(".0")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": int | float,
    "Calibration": dict,
    "tuple[str, ...]": str,
    "tuple[float, ...]": int | float,
}
"""Annotation of a field -> type of its JSON value, of each item for a list."""


def _fields(cls: type[Any], data: Any) -> dict[str, Any]:
    """The values of a dataclass's fields, lists as tuples.

    Raises:
      ValueError: A missing or unknown key, or a value of another type.
    """
    fields = {field.name: str(field.type) for field in dataclasses.fields(cls)}
    if not isinstance(data, dict) or data.keys() != fields.keys():
        got = ", ".join(sorted(data)) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"expected an object with {', '.join(fields)}, got {got}")
    values = {}
    for name, annotation in fields.items():
        is_list = annotation.startswith("tuple")
        items = data[name] if is_list and isinstance(data[name], list) else [data[name]]
        valid = all(isinstance(item, _TYPES[annotation]) and not isinstance(item, bool) for item in items)
        if not valid or is_list != isinstance(data[name], list):
            raise ValueError(f"{name}: expected {annotation}, got {data[name]!r:.60}")
        values[name] = tuple(data[name]) if is_list else data[name]
    return values
