"""Predictions for tests."""

from __future__ import annotations

import numpy as np

from musclemap_jax.predict.prediction import Prediction

REGIONS = ("chest", "biceps", "quadriceps", "gluteus")


def squat(**changes) -> Prediction:
    """Four windows of a video; the third has no answer. The quadriceps is active in all others, the gluteus in one.

    The left arm moved more in the first window; the legs were not seen in the second, and nobody in the third.
    """
    nan = np.nan
    probabilities = np.array([[0.1, 0.3, 0.9, 0.6], [0.2, 0.3, 0.8, 0.4], [nan] * 4, [0.0, 1 / 3, 1.0, 0.2]])
    logits = np.array([[-2.2, -0.8, 2.2, 0.4], [-1.4, -0.8, 1.4, -0.4], [nan] * 4, [-9.0, -0.7, 9.1, -1.4]], np.float32)
    active = np.zeros((4, 4), bool)
    active[[0, 1, 3], 2] = True
    active[0, 3] = True
    fields = {
        "source": "videos/squat.mp4",
        "regions": REGIONS,
        "duration_s": 9.5,
        "fps": 30.0,
        "times_s": np.array([[0, 2.5], [2.5, 5], [5, 7.5], [7, 9.5]]),
        "logits": logits,
        "probabilities": probabilities,
        "active": active,
        "branch_probabilities": {"video": probabilities / 2, "skeleton": np.where(active, 1 / 3, nan)},
        "modalities": (("video", "skeleton"), ("video",), (), ("video", "skeleton")),
        "persons": ((1,), (), (), (2, 1)),
        "limb_motion": np.array(
            [[[0.9, 0.1], [0.6, 0.5]], [[0.2, 0.3], [nan] * 2], [[nan] * 2] * 2, [[0.7, 0.4], [0.3, 0.1]]], np.float32
        ),
        "person": None,
        "decision_rule": "Active: above 50 %.",
        "warnings": ("Nobody is seen from 2.5 to 7.5 s.",),
    }
    return Prediction(**(fields | changes))
