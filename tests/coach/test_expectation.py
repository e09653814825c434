"""What an exercise is expected to activate."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.coach.expectation import Expectation, built_in_table, find_exercise, read_activities
from musclemap_jax.errors import UserError
from musclemap_jax.taxonomy import MUSCLE_REGIONS


def test_activities_and_movements_are_known_in_any_spelling():
    table = built_in_table()
    assert find_exercise("squat", table).regions == ("quadriceps", "gluteus", "hamstring")
    found = find_exercise("Push Up", table)
    assert found.name == "push-up"
    assert "chest" in found.regions
    np.testing.assert_array_equal(np.flatnonzero(find_exercise("sit_up", table).mask(MUSCLE_REGIONS)), [0, 9, 10, 13])


def test_an_unknown_exercise_gets_the_nearest_names():
    with pytest.raises(UserError) as error:
        find_exercise("plank", built_in_table())
    assert str(error.value).startswith(
        "--expect: unknown exercise 'plank': expected forearm plank, side plank hip lift, plank jack"
    )
    with pytest.raises(UserError, match="unknown exercise 'bodyweight sqat': expected bodyweight squat"):
        find_exercise("bodyweight sqat", built_in_table())
    with pytest.raises(UserError, match="unknown exercise 'wall sit': expected one or another of 1; or pass"):
        find_exercise("wall sit", {"one": ("chest",)})


def test_a_csv_file_has_names_or_indices_of_regions(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("Activity,Muscles\nwall sit,Quadriceps; gluteus\nplank,9;10\n")
    table = read_activities(path, MUSCLE_REGIONS)
    assert table == {"wall sit": ("quadriceps", "gluteus"), "plank": ("upper abdominis", "lower abdominis")}
    assert find_exercise("PLANK", table).sentence == "plank: upper abdominis, lower abdominis"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("activity,muscles\nsit,quads\n", ", line 2, column muscles: expected names of regions joined "
         "by ';', or indices below 20, got 'quads': perhaps quadriceps"),
        ("activity,muscles\nsit,20\n", "or indices below 20, got '20'"),
        ("activity,muscles\n,chest\n", ", line 2, column activity: expected a name, got '': name the exercise"),
        ("activity,muscles\nsit up,chest\nSit-up,calves\n", ", line 3, column activity: 'Sit-up' stands in "),
        ("activity,muscles\n", ": expected at least one exercise below the header, found none"),
        ("activity\nsit\n", "muscles"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_activities(path, MUSCLE_REGIONS)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^--activities: .*none\.csv: no such file$"):
        read_activities(tmp_path / "none.csv", MUSCLE_REGIONS)


def test_a_region_that_the_model_lacks_is_refused():
    with pytest.raises(UserError, match="--expect=row: activates 'wings', which is no region of the model: pass"):
        Expectation("row", ("wings",)).mask(MUSCLE_REGIONS)
