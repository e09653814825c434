"""What a person does in a video: repetitions, or holds of a static exercise.

A video of planks and one of push-ups with long pauses look alike: in both, movements come again between stretches in
which a pose is kept. It is a static exercise if there are hardly more movements than stretches, and the stretches last
longer altogether. In other videos, a kept pose before the first or after the last repetition is a hold as well, unless
it is the pose at which repetitions start. Standing at ease is rest and no hold; lying still cannot be told from a
static exercise.

Letters of shapes: S samples, R repetitions, H holds.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.coach.holds import is_at_ease, pose_distance, still_stretches
from musclemap_jax.coach.movement import RATE, Movement
from musclemap_jax.coach.repetitions import repetition_times

_OTHER_POSE = 0.25
"""Root mean square of the joints' displacement, in body sizes, from which two poses are different ones."""


def repetitions_and_holds(movement: Movement) -> tuple[np.ndarray, np.ndarray]:
    """(R, 2) times of the repetitions and (H, 2) times of the holds, start and end in seconds."""
    stretches = still_stretches(movement)
    still = np.zeros(len(movement.curve), bool)
    for start, end in stretches:
        still[start:end] = True
    repetitions = repetition_times(movement.curve, still)
    holds = [stretch for stretch in stretches if not is_at_ease(movement, stretch)]
    hold_times = np.array(holds, np.float64).reshape(-1, 2) / RATE
    held, moved = (float((times[:, 1] - times[:, 0]).sum()) for times in (hold_times, repetitions))
    if held > moved and len(repetitions) <= len(holds) + 1:
        return repetitions[:0], hold_times
    if len(repetitions):
        first, last = repetitions[0, 0], repetitions[-1, 1]
        starts = np.minimum((repetitions[:, 0] * RATE).astype(int), len(still) - 1)
        rest = np.median(movement.pose[starts], axis=0)
        outside = [start / RATE >= last or end / RATE <= first for start, end in holds]
        others = [pose_distance(np.median(movement.pose[slice(*each)], axis=0), rest) > _OTHER_POSE for each in holds]
        hold_times = hold_times[np.array(outside, bool) & np.array(others, bool)]
    return repetitions, hold_times
