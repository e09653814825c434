"""Repetitions, holds and alerts of a prediction.

Letters of shapes: W windows, R repetitions, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from musclemap_jax.coach.alerts import (
    excess_motion,
    excess_over_expected,
    excess_over_reference,
    find_alerts,
    motion_limits,
)
from musclemap_jax.coach.coaching import Coaching, Hold, Repetition
from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.expectation import Expectation
from musclemap_jax.coach.margins import AlertMargins
from musclemap_jax.coach.motion import MOTIONS, motion_ranges
from musclemap_jax.coach.movement import movement
from musclemap_jax.coach.profiles import log_odds, repetition_scores
from musclemap_jax.errors import UserError
from musclemap_jax.predict.joint_track import JointTrack
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.prediction import Prediction

OVERLAP = 0.5
"""Least overlap of the windows that alerts rest on: they were calibrated with it."""

NOT_SEEN = "No repetitions were counted: no person's pose is known, or too little of it."


def with_repetitions(
    prediction: Prediction,
    track: JointTrack,
    probabilities: Callable[[np.ndarray], np.ndarray],
    active: Callable[[np.ndarray], np.ndarray],
) -> Prediction:
    """The prediction with the repetitions and holds of its person, and the regions of each repetition.

    Args:
      prediction: The prediction.
      track: The joints of the video.
      probabilities: (R, K) probabilities of (R, K) logits.
      active: (R, K) decisions of them.
    """
    joints = track.joints(prediction.person)
    moved = None if joints is None else movement(joints, track.joint_names, track.fps)
    if moved is None:
        return dataclasses.replace(prediction, coaching=Coaching(notes=(NOT_SEEN,)))
    times, held = repetitions_and_holds(moved)
    motion = motion_ranges(moved, times)
    logits = repetition_scores(prediction.logits.astype(np.float64), prediction.times_s, times)
    shown_probabilities, decided = probabilities(logits), active(logits)
    answered = ~np.any(np.isnan(logits), axis=1)
    repetitions = tuple(
        Repetition(
            start,
            end,
            tuple(shown_probabilities[row].tolist()) if answered[row] else (),
            tuple(decided[row].tolist()) if answered[row] else (),
            tuple(None if math.isnan(value) else value for value in motion[row].tolist()),
        )
        for row, (start, end) in enumerate(times.tolist())
    )
    holds = tuple(Hold(start, end) for start, end in held.tolist())
    return dataclasses.replace(prediction, coaching=Coaching(repetitions, holds))


def with_alerts(
    prediction: Prediction,
    margins: AlertMargins,
    *,
    expectation: Expectation | None = None,
    reference: Prediction | None = None,
) -> Prediction:
    """The prediction with alerts where it differs from what is expected, or from a reference.

    Args:
      prediction: A prediction with repetitions or holds, whose windows overlap by `OVERLAP`.
      margins: Margins of the model's alerts.
      expectation: What the exercise activates.
      reference: The prediction for a video in which the exercise is done right; it may be of another length and person.

    Raises:
      UserError: Not one of the two is given, the reference has no repetition with an answer, or the model does not know
        a region that is expected.
    """
    if (expectation is None) == (reference is None):
        raise UserError("alerts: expected either what an exercise activates or a reference, got both or neither")
    coaching = prediction.coaching
    unit, times = _spans(coaching)
    scores = _scores(prediction, margins, times)
    limits: tuple[float, ...] = ()
    if expectation is not None:
        expected, of_exercise = expectation.sentence, margins.of(expectation.name)
        excess = excess_over_expected(scores, expectation.mask(prediction.regions), of_exercise)
        limits = of_exercise.motion
    else:
        assert reference is not None
        expected = f"as in {shown(reference.source)}"
        excess = excess_over_reference(scores, _reference_scores(reference, margins), margins)
        if reference.repetitions:
            limits = motion_limits(_motion(reference.coaching).mean(axis=0), margins)
    profile = repetition_scores(prediction.probabilities, prediction.times_s, times)
    alerts = find_alerts(excess, prediction.regions, profile, times, prediction.fps, unit)
    motion = _motion(coaching)
    if len(motion) and limits:
        more = excess_motion(motion, limits)
        alerts += find_alerts(more, tuple(MOTIONS), np.zeros_like(motion), times, prediction.fps)
    notes = [*coaching.notes]
    if not len(times):
        notes.append("No alerts are possible: no repetition and no hold was found.")
    elif np.isnan(scores).all():
        notes.append("No alerts are possible: the model has no answer for any repetition.")
    coaching = dataclasses.replace(coaching, expected=expected, alerts=alerts, notes=tuple(notes))
    return dataclasses.replace(prediction, coaching=coaching)


def _motion(coaching: Coaching) -> np.ndarray:
    """(R, A) ranges of motion in each repetition; NaN for what is not seen."""
    return np.array([each.motion for each in coaching.repetitions], np.float64).reshape(-1, len(MOTIONS))


def _spans(coaching: Coaching) -> tuple[str, np.ndarray]:
    """What alerts are about, "repetition" or "hold", and the (R, 2) times of these."""
    unit, spans = ("repetition", coaching.repetitions) if coaching.repetitions else ("hold", coaching.holds)
    return unit, np.array([(span.start_s, span.end_s) for span in spans], np.float64).reshape(-1, 2)


def _scores(prediction: Prediction, margins: AlertMargins, times: np.ndarray) -> np.ndarray:
    """(R, K) log-odds of the scores that the margins are for."""
    by_window = prediction.branch_probabilities[margins.branch] if margins.branch else prediction.probabilities
    return repetition_scores(log_odds(by_window), prediction.times_s, times)


def _reference_scores(reference: Prediction, margins: AlertMargins) -> np.ndarray:
    """(K,) mean log-odds of the reference's repetitions or holds."""
    _, times = _spans(reference.coaching)
    scores = _scores(reference, margins, times)
    answered = scores[~np.any(np.isnan(scores), axis=1)]
    if not len(answered):
        raise UserError(
            f"--reference: {shown(reference.source) or 'frames'}: no repetition of an exercise was found: film at "
            "least two repetitions with the whole body in view"
        )
    return answered.mean(axis=0)
