"""The lookup of activities, by hand."""

from __future__ import annotations

import numpy as np

from musclemap_jax.eval.baselines import LINEAR, LOOKUP, TITLES, ActivityLookup

LOOKUP_OF_THREE = ActivityLookup(["squat", "Push-up", "push up"], np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]]))


def test_an_activity_has_the_frequencies_of_its_training_clips():
    np.testing.assert_array_equal(LOOKUP_OF_THREE.scores(["PUSH UP", "squat"]), [[0, 1, 0.5], [1, 0, 0]])


def test_an_activity_that_was_not_learned_has_those_of_all_clips_and_new_ones_alone_have_none():
    np.testing.assert_allclose(LOOKUP_OF_THREE.scores(["lunge", "squat"]), [[1 / 3, 2 / 3, 1 / 3], [1, 0, 0]])
    assert LOOKUP_OF_THREE.scores(["lunge", "row"]) is None
    assert ActivityLookup(["", ""], np.eye(2)).scores(["", ""]) is None  # clips whose activities are not known


def test_every_baseline_has_a_title():
    assert tuple(TITLES) == (*LINEAR, LOOKUP)
