"""Activities as units: weights, folds and halves by hand."""

import numpy as np

from musclemap_jax.eval.activities import (
    activity_folds,
    activity_places,
    activity_weights,
    count_activities,
    in_first_half,
)


def test_every_activity_has_the_same_weight():
    weights = activity_weights(["squat", "plank", "squat", "lunge", "squat"])
    np.testing.assert_allclose(weights, [1 / 9, 1 / 3, 1 / 9, 1 / 3, 1 / 9], atol=1e-15)


def test_folds_hold_whole_activities_in_alphabetical_order():
    assert activity_folds(["d", "a", "c", "a", "b"], 3).tolist() == [0, 0, 2, 0, 1]
    assert activity_folds(["d", "a", "d"], 10).tolist() == [1, 0, 1]


def test_halves_are_of_all_activities_and_the_same_for_every_split():
    every_activity = ["e", "a", "c", "b", "d", "a"]
    assert in_first_half(["b", "a", "e", "d", "c"], every_activity).tolist() == [False, True, True, False, True]
    assert in_first_half(["d"], every_activity[::-1]).tolist() == [False]


def test_spellings_of_one_activity_stay_together():
    assert activity_folds(["Sit-up", "plank", "sit up"], 2).tolist() == [0, 1, 0]
    np.testing.assert_allclose(activity_weights(["Sit-up", "plank", "sit up"]), [1 / 4, 1 / 2, 1 / 4])
    assert in_first_half(["sit up", "plank", "Sit-up"], ["plank", "Sit-up", "sit up"]).tolist() == [True, False, True]


def test_places_and_counts_are_of_activities_not_of_spellings():
    names = ["sit-up", "plank", "sit up", "lunge"]
    assert activity_places(names).tolist() == [2, 1, 2, 0]
    assert count_activities(names) == 3
    assert count_activities([]) == 0
