"""Activities as the independent units of an evaluation: clips of one activity resemble each other, activities do not.

Whatever is fitted on some clips and scored on others is divided between whole activities, and each activity counts the
same, however many clips it has. Spellings that differ in case or punctuation alone are one activity.

Letters of shapes: n clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int

from musclemap_jax import taxonomy


def activity_places(activities: Sequence[str]) -> Int[np.ndarray, " n"]:
    """(n,) which activity each clip is of, counted from 0 in alphabetical order."""
    return np.unique(_one_spelling(activities, activities), return_inverse=True)[1]


def count_activities(activities: Sequence[str]) -> int:
    """Number of different activities among n names."""
    return len({taxonomy.activity_key(name) for name in activities})


def activity_weights(activities: Sequence[str]) -> Float64[np.ndarray, " n"]:
    """(n,) weights of the clips of which every activity has the same sum; all of them sum to 1."""
    places = activity_places(activities)
    counts = np.bincount(places)
    return 1 / (counts[places] * max(len(counts), 1))


def activity_folds(activities: Sequence[str], num_folds: int) -> Int[np.ndarray, " n"]:
    """(n,) number of each clip's fold: the activities in alphabetical order are dealt out like cards.

    Args:
      activities: n names.
      num_folds: Number of folds; there are fewer if there are fewer activities.
    """
    return activity_places(activities) % num_folds


def in_first_half(activities: Sequence[str], all_activities: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """(n,) True for clips of the first, third, fifth ... of all activities in alphabetical order.

    Args:
      activities: n names.
      all_activities: The activities to halve, in any order and with repetitions; the n names are among them.
    """
    every_activity = np.unique(_one_spelling(all_activities, all_activities))
    return np.isin(_one_spelling(activities, all_activities), every_activity[::2])


def _one_spelling(activities: Sequence[str], all_activities: Sequence[str]) -> np.ndarray:
    """(n,) names, each in the alphabetically first of its spellings."""
    spellings: dict[str, str] = {}
    for name in sorted(set(all_activities)):
        spellings.setdefault(taxonomy.activity_key(name), name)
    return np.array([spellings[taxonomy.activity_key(name)] for name in activities], str)
