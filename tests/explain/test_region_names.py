"""Regions that a user asks for."""

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.explain.region_names import asked_regions, find_region
from musclemap_jax.taxonomy import MUSCLE_REGIONS


@pytest.mark.parametrize("name", ["lower back", "Lower Back", "lower-back", " lowerback"])
def test_case_spaces_and_hyphens_do_not_matter(name):
    assert find_region(name, MUSCLE_REGIONS) == "lower back"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("quadricep", "quadriceps"), ("abdominis", "upper abdominis, lower abdominis"), ("glutes", "gluteus")],
)
def test_an_unknown_region_names_the_nearest(name, nearest):
    with pytest.raises(UserError) as error:
        find_region(name, MUSCLE_REGIONS, "--explain")
    assert str(error.value).startswith(f"--explain: expected a muscle region of the model, got {name!r}: try {nearest}")


def test_a_name_like_nothing_lists_the_regions():
    with pytest.raises(UserError, match=r"got '\\n\?': try left, right$"):
        find_region("\n?", ["left", "right"])


def test_each_region_is_asked_for_once_and_top_stays():
    assert asked_regions(["Chest", "top", "chest"], MUSCLE_REGIONS, "explain") == ("chest", "top")
    assert asked_regions(["top"], ["top", "bottom"], "explain") == ("top",)
