"""The exercises that the page offers as expected."""

import types

from musclemap_jax.predict.request import Request
from musclemap_jax.predict.web.exercises import coach_of, coach_request, exercise_names
from musclemap_jax.taxonomy import MUSCLE_REGIONS


def model(margins=(), regions=MUSCLE_REGIONS):
    def coach(prediction, expect):
        return f"{prediction} against {expect}"

    return types.SimpleNamespace(margins=margins, regions=regions, coach=coach)


def test_a_model_without_margins_or_with_other_regions_offers_none():
    assert exercise_names(model(margins=None)) == []
    assert exercise_names(model(regions=("wing",))) == []


def test_exercises_are_those_of_the_table_whose_regions_the_model_knows():
    names = exercise_names(model())
    assert names == sorted(names)
    assert {"squat", "barbell deadlift"} <= set(names)
    few = exercise_names(model(regions=("quadriceps", "gluteus", "hamstring")))
    assert "squat" in few
    assert len(few) < len(names)


def test_an_expected_exercise_is_coached_over_overlapping_windows():
    assert coach_of(model(), "squat")("a video") == "a video against squat"
    assert coach_request(Request(overlap=0.0)).overlap == 0.5
    assert coach_request(Request(overlap=0.75)).overlap == 0.75
