"""Baselines that a report compares a model with: what skeletons say without a network, and activities without clips.

A model that claims to see muscles at work should be above a linear model on statistics of the same skeletons, above
all on new activities. The activity lookup is no competitor: it is told a clip's true activity, and answers with how
often training clips of that activity show each region. It says how far naming the activity alone would go.

Letters of shapes: n clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Shaped

from musclemap_jax import taxonomy

JOINTS, BIOMECHANICS, BOTH, LIMBS = "linear_joints", "linear_biomechanics", "linear_both", "linear_limbs"
LOOKUP = "activity_lookup"

LINEAR = (JOINTS, BIOMECHANICS, BOTH, LIMBS)
"""Baselines that see what the model sees, or less."""

TITLES: dict[str, str] = {
    JOINTS: "linear model on joints",
    BIOMECHANICS: "linear model on biomechanics",
    BOTH: "linear model on joints and biomechanics",
    LIMBS: "linear model by limbs",
    LOOKUP: "activity lookup",
}
"""Baseline -> its name for readers, in the order of tables."""


class ActivityLookup:
    """How often the training clips of an activity show each region."""

    def __init__(self, activities: Sequence[str], labels: Shaped[np.ndarray, "n K"]) -> None:
        """Learns the training clips whose activities have a name; spellings of one are one activity."""
        keys = np.array([taxonomy.activity_key(name) for name in activities], str)
        self._frequencies = {str(key): labels[keys == key].mean(axis=0) for key in np.unique(keys) if key}
        self._unknown = labels.mean(axis=0)

    def scores(self, activities: Sequence[str]) -> Float64[np.ndarray, "n K"] | None:
        """The frequency of each region; over all training clips for an activity that is not among theirs.

        None if no activity is.
        """
        keys = [taxonomy.activity_key(name) for name in activities]
        if not any(key in self._frequencies for key in keys):
            return None
        return np.array([self._frequencies.get(key, self._unknown) for key in keys], np.float64)
