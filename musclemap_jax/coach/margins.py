"""Margins of alerts: how far a score may stray while an exercise is done right, by split conformal prediction.

A session that is done right has a score of nonconformity: the largest excess of any region over what is usual, in
units of the region's own spread. The margin is the ceil((n + 1)(1 - alpha))-th smallest of those of n calibration
sessions (Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005; Angelopoulos and Bates,
arXiv:2107.07511, section 1), so a further session that is done right, and is exchangeable with these, raises an alert
of one kind with a probability of at most alpha. What is usual is measured on other sessions than the n.

Nothing is guaranteed for sessions of another kind, such as real ones after a calibration on rendered ones.

Letters of shapes: R repetitions, K muscle regions, N sessions.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from musclemap_jax.coach.motion import AT_REST, MOTIONS
from musclemap_jax.coach.runs import run_maximum
from musclemap_jax.errors import UserError

FORMAT = 1

_LEAST_SPREAD, _LEAST_MOTION = 0.5, 5.0
"""Log-odds and degrees: what hardly varied in calibration may vary by that much."""

_NEVER = {"upper": math.inf, "lower": -math.inf, "difference": math.inf, "motion": math.inf}
"""Margins that are never exceeded; null in JSON."""


@dataclasses.dataclass(frozen=True)
class AlertMargins:
    """Margins on the log-odds of the K regions.

    Attributes:
      regions: Names of the regions.
      branch: The branch whose scores they are for; empty for the whole model's.
      upper: A region that is not expected raises an alert above this; infinite (null in JSON) for never.
      lower: One that is expected raises an alert below this.
      difference: A region raises an alert if it differs by more than this from a reference.
      motion: Joints that rest in the reference raise an alert if they move by so many degrees more (`motion.MOTIONS`).
      alpha: Probability that a session that is done right raises an alert, for each kind of alert.
      num_sessions: Number of sessions that they were calibrated on.
      made_on: What the sessions were, in words.
      weights: Digest of the model's weights.
    """

    regions: tuple[str, ...]
    branch: str
    upper: tuple[float, ...]
    lower: tuple[float, ...]
    difference: tuple[float, ...]
    motion: tuple[float, ...]
    alpha: float
    num_sessions: int
    made_on: str
    weights: str

    def to_json(self) -> str:
        """Strict JSON; infinite margins are null."""
        entry: dict[str, Any] = {"format": FORMAT} | dataclasses.asdict(self)
        for name in _NEVER:
            entry[name] = [round(value, 4) if math.isfinite(value) else None for value in entry[name]]
        return json.dumps(entry, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> AlertMargins:
        """The inverse of `to_json`, to four digits.

        Raises:
          UserError: Anything else.
        """
        fix = "calibrate again, with python -m musclemap_jax.predict.calibrate_alerts"
        try:
            entry: dict[str, Any] = json.loads(text)
            if entry.pop("format") != FORMAT:
                raise UserError(f"{where}: expected format {FORMAT}: {fix}")
            for name, value in _NEVER.items():
                entry[name] = tuple(value if each is None else float(each) for each in entry[name])
            entry["regions"] = tuple(entry["regions"])
            margins = cls(**entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where}: no alert margins, or damaged: {error!r}: {fix}") from error
        lengths = {len(margins.upper), len(margins.lower), len(margins.difference)}
        if lengths != {len(margins.regions)} or len(margins.motion) != len(MOTIONS):
            raise UserError(f"{where}: expected a margin of each kind for each region: {fix}")
        return margins


@dataclasses.dataclass(frozen=True)
class RightSession:
    """A session that is done right.

    Attributes:
      activity: Name of the exercise.
      expected: (K,) bool, its regions.
      scores: (R, K) log-odds of its repetitions, all with an answer.
      motion: (R, A) ranges of the joints' angles, as in `motion.motion_ranges`.
    """

    activity: str
    expected: np.ndarray
    scores: np.ndarray
    motion: np.ndarray


def calibrate_margins(
    sessions: Sequence[RightSession],
    regions: Sequence[str],
    *,
    alpha: float,
    branch: str,
    made_on: str,
    weights: str,
) -> AlertMargins:
    """Calibrates margins; every second session says what is usual, the others how far one may stray.

    Args:
      sessions: Sessions in an order that does not depend on their scores, the sessions of an activity side by side.
      regions: Names of the K regions.
      alpha: Probability of a false alert, of one kind in one session.
      branch: The branch whose scores they are.
      made_on: What the sessions are, in words.
      weights: Digest of the model's weights.
    """
    expected = np.stack([session.expected for session in sessions])
    highest = np.stack([run_maximum(session.scores) for session in sessions])
    lowest = np.stack([run_maximum(-session.scores) for session in sessions])
    pairs = [(session, other) for index, session in enumerate(sessions) if (other := _partner(sessions, index))]
    apart = np.stack([_difference(session.scores, other.scores.mean(axis=0)) for session, other in pairs])
    moved = np.stack([run_maximum(session.motion - other.motion.mean(axis=0)) for session, other in pairs])
    at_rest = np.stack([other.motion.mean(axis=0) < AT_REST for _, other in pairs])
    return AlertMargins(
        regions=tuple(regions),
        branch=branch,
        upper=tuple(np.maximum(_margin(highest, ~expected, alpha), 0.0).tolist()),
        lower=tuple((-np.maximum(_margin(lowest, expected, alpha), 0.0)).tolist()),
        difference=tuple(_margin(apart, np.ones(apart.shape, bool), alpha).tolist()),
        motion=tuple(_margin(moved, at_rest, alpha, _LEAST_MOTION).tolist()),
        alpha=alpha,
        num_sessions=len(sessions),
        made_on=made_on,
        weights=weights,
    )


def _difference(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(K,) largest difference of (R, K) scores from a reference, either way, that holds over a run."""
    return np.maximum(run_maximum(scores - reference), run_maximum(reference - scores))


def conformal_quantile(values: np.ndarray, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n values; infinite if n is too small for alpha."""
    place = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(values)[place - 1]) if place <= len(values) else math.inf


def _margin(values: np.ndarray, counts: np.ndarray, alpha: float, least_spread: float = _LEAST_SPREAD) -> np.ndarray:
    """(K,) margins of (N, K) values, of which those with `counts` are of the kind; infinite where there are none."""
    usual, held_out = slice(0, None, 2), slice(1, None, 2)
    of_kind = np.where(counts[usual], values[usual], np.nan)
    known = (~np.isnan(of_kind)).sum(axis=0) >= 2
    of_kind[:, ~known] = 0.0
    centre = np.nanmean(of_kind, axis=0)
    spread = np.maximum(np.nanstd(of_kind, axis=0), least_spread)
    strays = np.where(counts[held_out] & known, (values[held_out] - centre) / spread, -np.inf).max(axis=1)
    return np.where(known, centre + conformal_quantile(strays, alpha) * spread, np.inf)


def _partner(sessions: Sequence[RightSession], index: int) -> RightSession | None:
    """Another session of the same activity, of the same half if there is one; None if there is none."""
    for other in (index + 2, index - 2, index + 1, index - 1):
        if 0 <= other < len(sessions) and sessions[other].activity == sessions[index].activity:
            return sessions[other]
    return None
