"""Alerts: regions that are active and not expected, or expected and not active, beyond a conformal margin.

A single repetition may be anything: an alert stands on two neighbouring ones, or on the only one.

Letters of shapes: R repetitions, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musclemap_jax.coach.coaching import MISSING, UNEXPECTED, Alert
from musclemap_jax.coach.margins import AlertMargins
from musclemap_jax.coach.runs import runs


def find_alerts(
    scores: np.ndarray,
    probabilities: np.ndarray,
    repetitions: np.ndarray,
    excess: dict[str, np.ndarray],
    regions: Sequence[str],
    fps: float,
    unit: str = "repetition",
) -> tuple[Alert, ...]:
    """The alerts of a video, in the order of their start.

    Args:
      scores: (R, K) scores of the repetitions; NaN without an answer.
      probabilities: (R, K) probabilities that are shown.
      repetitions: (R, 2) their times in seconds.
      excess: {kind: (R, K)} by how much each score exceeds its margin, negative where it does not.
      regions: Names of the K regions.
      fps: Frames per second of the video.
      unit: "repetition" or "hold".
    """
    answered = np.flatnonzero(~np.isnan(scores).any(axis=1))
    alerts = []
    for kind, amount in excess.items():
        for k, region in enumerate(regions):
            beyond = amount[answered, k] > 0
            for first, last in runs(beyond):
                rows = answered[first:last]
                start, end = float(repetitions[rows[0], 0]), float(repetitions[rows[-1], 1])
                alerts.append(
                    Alert(
                        kind=kind,
                        region=region,
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


def excess_over_expected(scores: np.ndarray, expected: np.ndarray, margins: AlertMargins) -> dict[str, np.ndarray]:
    """{kind: (R, K)} excess of scores over the margins of an exercise.

    Args:
      scores: (R, K) log-odds.
      expected: (K,) bool.
      margins: The margins.
    """
    above = np.where(expected, -np.inf, scores - np.array(margins.upper))
    below = np.where(expected, np.array(margins.lower) - scores, -np.inf)
    return {UNEXPECTED: above, MISSING: below}


def excess_over_reference(scores: np.ndarray, reference: np.ndarray, margins: AlertMargins) -> dict[str, np.ndarray]:
    """{kind: (R, K)} excess of the difference from a reference over its margin.

    Args:
      scores: (R, K) log-odds.
      reference: (K,) mean log-odds of the reference's repetitions.
      margins: The margins.
    """
    difference, margin = scores - reference, np.array(margins.difference)
    return {UNEXPECTED: difference - margin, MISSING: -difference - margin}
