"""Alerts beyond a conformal margin: regions that are active and not expected, or expected and not active, and joints
that move more than expected.

A single repetition may be anything: an alert stands on two neighbouring ones, or on the only one.

Letters of shapes: R repetitions, K muscle regions or joints, A angles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from musclemap_jax.coach.coaching import MISSING, MOVING, UNEXPECTED, Alert
from musclemap_jax.coach.margins import AlertMargins, ExerciseMargins, difference_from
from musclemap_jax.coach.motion import AT_REST
from musclemap_jax.coach.runs import runs


def find_alerts(
    excess: Mapping[str, np.ndarray],
    names: Sequence[str],
    probabilities: np.ndarray,
    repetitions: np.ndarray,
    fps: float,
    unit: str = "repetition",
) -> tuple[Alert, ...]:
    """The alerts of a video, in the order of their start.

    Args:
      excess: {kind: (R, K)} by how much each score exceeds its margin, negative where it does not, and NaN in
        repetitions without an answer, which are left out.
      names: Names of the K regions or joints.
      probabilities: (R, K) probabilities that are shown.
      repetitions: (R, 2) their times in seconds.
      fps: Frames per second of the video.
      unit: "repetition" or "hold".
    """
    alerts = []
    for kind, amount in excess.items():
        answered = np.flatnonzero(~np.any(np.isnan(amount), axis=1))
        for k, name in enumerate(names):
            for first, last in runs(amount[answered, k] > 0):
                rows = answered[first:last]
                start, end = float(repetitions[rows[0], 0]), float(repetitions[rows[-1], 1])
                alerts.append(
                    Alert(
                        kind=kind,
                        region=name,
                        repetitions=(int(rows[0]) + 1, int(rows[-1]) + 1),
                        start_s=start,
                        end_s=end,
                        frames=(round(start * fps), max(round(start * fps), round(end * fps) - 1)),
                        probability=float(probabilities[rows, k].mean()),
                        excess=float(amount[rows, k].mean()),
                        unit=unit,
                    )
                )
    return tuple(sorted(alerts, key=lambda alert: (alert.start_s, -alert.excess)))


def excess_over_expected(scores: np.ndarray, expected: np.ndarray, margins: ExerciseMargins) -> dict[str, np.ndarray]:
    """{kind: (R, K)} excess of scores over the margins of an exercise.

    Args:
      scores: (R, K) log-odds.
      expected: (K,) bool.
      margins: The exercise's margins.
    """
    unknown = np.where(np.isnan(scores), np.nan, -np.inf)
    above = np.where(expected, unknown, scores - np.array(margins.upper))
    below = np.where(expected, np.array(margins.lower) - scores, unknown)
    return {UNEXPECTED: above, MISSING: below}


def excess_over_reference(scores: np.ndarray, reference: np.ndarray, margins: AlertMargins) -> dict[str, np.ndarray]:
    """{kind: (R, K)} excess of the difference from a reference over its margin.

    Args:
      scores: (R, K) log-odds.
      reference: (K,) mean log-odds of the reference's repetitions.
      margins: The margins.
    """
    difference, margin = difference_from(scores, reference), np.array(margins.difference)
    return {UNEXPECTED: difference - margin, MISSING: -difference - margin}


def excess_motion(motion: np.ndarray, limits: Sequence[float]) -> dict[str, np.ndarray]:
    """{kind: (R, A)} by how much joints move more than they may; -inf where they are not seen.

    Args:
      motion: (R, A) as `motion.motion_ranges` returns it.
      limits: (A,) ranges; infinite for joints that may move in any way.
    """
    return {MOVING: np.where(np.isnan(motion), -np.inf, motion - np.array(limits))}


def motion_limits(reference: np.ndarray, margins: AlertMargins) -> tuple[float, ...]:
    """(A,) ranges beyond which joints that rest in a reference move too much.

    Args:
      reference: (A,) mean ranges of the reference's repetitions.
      margins: The margins.
    """
    return tuple(np.where(reference < AT_REST, reference + np.array(margins.motion), np.inf).tolist())
