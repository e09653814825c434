"""Margins of alerts: how far a score may stray while an exercise is done right, by split conformal prediction.

A session that is done right has a score of nonconformity: the largest excess of any region over what is usual, in
units of the region's own spread. The margin is the ceil((n + 1)(1 - alpha))-th smallest of those of n calibration
sessions (Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005; Angelopoulos and Bates,
arXiv:2107.07511, section 1), so a further session that is done right, and is exchangeable with these, raises an alert
of one kind with a probability of at most alpha. What is usual is measured on other sessions than the n.

What is usual depends on the exercise: a model that takes the arms of a runner for those of a boxer always does. So each
exercise has margins of its own; one that was not calibrated has those of all together.

Nothing is guaranteed for sessions of another kind, such as real ones after a calibration on rendered ones.

Letters of shapes: R repetitions, K muscle regions, N sessions, A angles, E exercises.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musclemap_jax.coach.motion import ANKLES, AT_REST, MOTIONS
from musclemap_jax.coach.runs import run_maximum
from musclemap_jax.errors import UserError

FORMAT = 3

_LEAST_SPREAD, _LEAST_MOTION = 0.5, np.array([0.4 * at_rest for at_rest in AT_REST])
"""Log-odds, and (A,) ranges of motion: what hardly varied in calibration may vary by that much."""

SURE = 5.0
"""Log-odds of a region that is surely active, or surely not: how sure the model is beyond that differs between the
sessions of one exercise and says nothing."""

_PRIOR = 4.0
"""Sessions that an exercise's own spread has to outweigh: it is measured on few."""

_NEVER = {"upper": math.inf, "lower": -math.inf, "difference": math.inf, "motion": math.inf}
"""Margins that are never exceeded; null in JSON."""


class OlderMarginsError(UserError):
    """The margins were written by an earlier version of the program, for alerts of other kinds."""


@dataclasses.dataclass(frozen=True)
class ExerciseMargins:
    """Margins of an exercise whose regions are known.

    Attributes:
      upper: (K,) log-odds; a region that is not expected raises an alert above this; infinite for never.
      lower: (K,) one that is expected raises an alert below this.
      motion: (A,) joints that rest in this exercise raise an alert if they move by more (`motion.MOTIONS`).
    """

    upper: tuple[float, ...]
    lower: tuple[float, ...]
    motion: tuple[float, ...]


def loosest(margins: Sequence[ExerciseMargins]) -> ExerciseMargins:
    """Margins that nothing exceeds which stays within any of the given ones."""
    upper, lower, motion = ([getattr(each, side) for each in margins] for side in ("upper", "lower", "motion"))
    return ExerciseMargins(
        tuple(map(max, zip(*upper, strict=True))),
        tuple(map(min, zip(*lower, strict=True))),
        tuple(map(max, zip(*motion, strict=True))),
    )


@dataclasses.dataclass(frozen=True)
class AlertMargins:
    """Margins on the log-odds of the K regions.

    Attributes:
      regions: Names of the regions.
      branch: The branch whose scores they are for; empty for the whole model's.
      general: Margins of an exercise that was not calibrated.
      exercises: {name: margins} of those that were; where one of them is infinite, that of `general` holds.
      difference: (K,) a region raises an alert if it differs by more than this from a reference.
      motion: (A,) joints that rest in the reference raise an alert if they move by so much more.
      alpha: Probability that a session that is done right raises an alert, for each kind of alert.
      num_sessions: Number of sessions that they were calibrated on.
      made_on: What the sessions were, in words.
      weights: Digest of the model's weights.
    """

    regions: tuple[str, ...]
    branch: str
    general: ExerciseMargins
    exercises: Mapping[str, ExerciseMargins]
    difference: tuple[float, ...]
    motion: tuple[float, ...]
    alpha: float
    num_sessions: int
    made_on: str
    weights: str

    def of(self, exercise: str) -> ExerciseMargins:
        """The margins of an exercise by its name."""
        own = self.exercises.get(exercise)
        if own is None:
            return self.general

        def filled(margins: Sequence[float], general: Sequence[float]) -> tuple[float, ...]:
            return tuple(one if math.isfinite(one) else other for one, other in zip(margins, general, strict=True))

        return ExerciseMargins(filled(own.upper, self.general.upper), filled(own.lower, self.general.lower), own.motion)

    def to_json(self) -> str:
        """Strict JSON; infinite margins are null."""
        entry: dict[str, Any] = {"format": FORMAT} | dataclasses.asdict(self)
        for each in (entry, entry["general"], *entry["exercises"].values()):
            for name in _NEVER.keys() & each.keys():
                each[name] = [round(value, 3) if math.isfinite(value) else None for value in each[name]]
        return json.dumps(entry, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> AlertMargins:
        """The inverse of `to_json`, to three digits.

        Raises:
          OlderMarginsError: They are of an earlier format.
          UserError: Anything else.
        """
        fix = "calibrate again, with python -m musclemap_jax.predict.calibrate_alerts"
        try:
            entry: dict[str, Any] = json.loads(text)
            if (found := int(entry.pop("format"))) != FORMAT:
                error_class = OlderMarginsError if found < FORMAT else UserError
                raise error_class(f"{where}: expected format {FORMAT}, got {found}: {fix}")
            for each in (entry, entry["general"], *entry["exercises"].values()):
                for name in _NEVER.keys() & each.keys():
                    each[name] = tuple(_NEVER[name] if value is None else float(value) for value in each[name])
            entry["regions"] = tuple(entry["regions"])
            entry["general"] = ExerciseMargins(**entry["general"])
            entry["exercises"] = {name: ExerciseMargins(**each) for name, each in entry["exercises"].items()}
            margins = cls(**entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where}: no alert margins, or damaged: {error!r}: {fix}") from error
        every = (margins.general, *margins.exercises.values())
        of_regions = {len(margins.difference), *(len(side) for each in every for side in (each.upper, each.lower))}
        of_motion = {len(margins.motion), *(len(each.motion) for each in every)}
        if of_regions != {len(margins.regions)} or of_motion != {len(MOTIONS)}:
            raise UserError(f"{where}: expected a margin of each kind for each region: {fix}")
        return margins


@dataclasses.dataclass(frozen=True)
class RightSession:
    """A session that is done right.

    Attributes:
      activity: Name of the exercise.
      expected: (K,) bool, its regions.
      scores: (R, K) log-odds of its repetitions, all with an answer.
      motion: (R, A) ranges, as in `motion.motion_ranges`.
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
    names = list(dict.fromkeys(session.activity for session in sessions))
    exercise = np.array([names.index(session.activity) for session in sessions])
    moved = np.stack([run_maximum(session.motion) for session in sessions])
    rests = _rests(np.stack([session.motion.mean(axis=0) for session in sessions]), exercise)
    together = np.zeros(len(sessions), int)

    def both_sides(exercise: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        upper = _margin(np.maximum(highest, least), ~expected, exercise, alpha)
        lower = _margin(np.maximum(lowest, least), expected, exercise, alpha)
        return np.maximum(upper, 0.0), -np.maximum(lower, 0.0)

    (upper,), (lower,) = both_sides(together, -math.inf)
    general = ExerciseMargins(tuple(upper.tolist()), tuple(lower.tolist()), (math.inf,) * len(MOTIONS))
    own_motion = _motion_margin(moved, rests, exercise, alpha)
    own = zip(names, *both_sides(exercise, -SURE), own_motion, strict=True)
    pairs = [(session, other) for index, session in enumerate(sessions) if (other := _partner(sessions, index))]
    apart = np.stack([_difference(session.scores, other.scores.mean(axis=0)) for session, other in pairs])
    more = np.stack([run_maximum(session.motion - other.motion.mean(axis=0)) for session, other in pairs])
    at_rest = np.stack([other.motion.mean(axis=0) < AT_REST for _, other in pairs])
    return AlertMargins(
        regions=tuple(regions),
        branch=branch,
        general=general,
        exercises={name: ExerciseMargins(*(tuple(each.tolist()) for each in margins)) for name, *margins in own},
        difference=tuple(_margin(apart, np.ones(apart.shape, bool), together[: len(pairs)], alpha)[0].tolist()),
        motion=tuple(_motion_margin(more, at_rest, together[: len(pairs)], alpha)[0].tolist()),
        alpha=alpha,
        num_sessions=len(sessions),
        made_on=made_on,
        weights=weights,
    )


def _rests(motion: np.ndarray, exercise: np.ndarray) -> np.ndarray:
    """(N, A) bool: joints that rest in the exercise of each session, as far as they are seen in (N, A) mean ranges."""
    usual, rests = _is_usual(exercise), []
    for number in range(exercise.max() + 1):
        of_exercise = motion[(exercise == number) & usual]
        seen = ~np.isnan(of_exercise)
        rests.append(np.sum(of_exercise, axis=0, where=seen) < seen.sum(axis=0) * np.array(AT_REST))
    return np.array(rests)[exercise]


def _motion_margin(motion: np.ndarray, rests: np.ndarray, exercise: np.ndarray, alpha: float) -> np.ndarray:
    """(E, A) margins of (N, A) ranges of motion, of joints that rest; those of the angles and of the ankles apart."""
    counts, ankles = rests & ~np.isnan(motion), np.array([name == ANKLES for name in MOTIONS])
    margins = [_margin(motion, counts & which, exercise, alpha, _LEAST_MOTION) for which in (~ankles, ankles)]
    return np.where(ankles, margins[1], margins[0])


def _is_usual(exercise: np.ndarray) -> np.ndarray:
    """(N,) bool, every second session of each exercise: they say what is usual."""
    return (np.arange(len(exercise)) - np.searchsorted(exercise, exercise)) % 2 == 0


def _difference(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(K,) largest difference of (R, K) scores from a reference, either way, that holds over a run."""
    difference = difference_from(scores, reference)
    return np.maximum(run_maximum(difference), run_maximum(-difference))


def difference_from(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(R, K) differences of log-odds from a reference's (K,), neither beyond `SURE`."""
    return np.clip(scores, -SURE, SURE) - np.clip(reference, -SURE, SURE)


def conformal_quantile(values: np.ndarray, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n values; infinite if n is too small for alpha."""
    place = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(values)[place - 1]) if place <= len(values) else math.inf


def _margin(
    values: np.ndarray,
    counts: np.ndarray,
    exercise: np.ndarray,
    alpha: float,
    least_spread: float | np.ndarray = _LEAST_SPREAD,
) -> np.ndarray:
    """(E, K) margins of (N, K) values, of which those with `counts` are of the kind; infinite where there are none.

    `exercise` (N,) numbers the exercises from 0, whose sessions are side by side. Values that do not count may be NaN.
    """
    usual = _is_usual(exercise)
    of_kind = np.where(counts & usual[:, None], values, np.nan)
    groups = [of_kind[exercise == number] for number in range(exercise.max() + 1)]
    number = np.stack([(~np.isnan(group)).sum(axis=0) for group in groups])
    known = number >= 2
    centre = np.stack([np.nansum(group, axis=0) for group in groups]) / np.maximum(number, 1)
    squares = np.stack([np.nansum((group - middle) ** 2, axis=0) for group, middle in zip(groups, centre, strict=True)])
    freedom = np.where(known, number - 1, 0)
    pooled = (squares * known).sum(axis=0) / np.maximum(freedom.sum(axis=0), 1)
    spread = np.maximum(np.sqrt((_PRIOR * pooled + squares) / (_PRIOR + freedom)), least_spread)
    held_out = counts & known[exercise] & ~usual[:, None]
    strays = np.where(held_out, (values - centre[exercise]) / spread[exercise], -np.inf)[~usual].max(axis=1)
    return np.where(known, centre + conformal_quantile(strays, alpha) * spread, np.inf)


def _partner(sessions: Sequence[RightSession], index: int) -> RightSession | None:
    """Another session of the same activity, of the same half if there is one; None if there is none."""
    for other in (index + 2, index - 2, index + 1, index - 1):
        if 0 <= other < len(sessions) and sessions[other].activity == sessions[index].activity:
            return sessions[other]
    return None
