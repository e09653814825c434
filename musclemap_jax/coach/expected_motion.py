"""How far the joints move when an exercise of the built-in table is done right: measured on rendered sessions of it.

Letters of shapes: A angles.
"""

from __future__ import annotations

import functools

import numpy as np

from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.motion import MOTIONS, motion_ranges
from musclemap_jax.coach.movement import movement
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.session import LAYOUT, sample_session

_SESSIONS = 4
_SEED = 9001


@functools.cache
def expected_motion(exercise: str) -> tuple[float, ...] | None:
    """A ranges in degrees, the largest of several subjects and cameras; None for an exercise without a program."""
    found = [activity for activity in ACTIVITIES if activity.name == exercise]
    if not found:
        return None
    ranges = [np.zeros(len(MOTIONS))]
    for index in range(_SESSIONS):
        session = sample_session(found[0], _SEED, f"{found[0].slug}_{index}")
        moved = movement(session.skeleton[:, 0], get_layout(LAYOUT).joints, session.timeline.fps)
        times = repetitions_and_holds(moved)[0] if moved else np.zeros((0, 2))
        if moved and len(times):
            ranges.append(np.median(motion_ranges(moved, times), axis=0))
    return tuple(np.max(ranges, axis=0).tolist())
