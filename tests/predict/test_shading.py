"""What the body map shows of several windows: means, sides, and what is outlined."""

import numpy as np
import pytest

from musclemap_jax.predict.shading import shading
from musclemap_jax.predict.sides import FAINT
from tests.predict.handmade import prediction

REGIONS = ("chest", "biceps", "gluteus")
LEFT, RIGHT, BOTH = [[0.9, 0.1], [0, 0]], [[0.1, 0.9], [0, 0]], [[0.9, 0.9], [0, 0]]


def of_windows(probabilities, motion):
    return prediction(probabilities, REGIONS, limb_motion=np.array(motion, np.float32))


def test_the_side_that_moved_less_is_fainter():
    shaded = shading(of_windows([[0.6, 0.8, 0.2]], [LEFT]))
    np.testing.assert_allclose(shaded.probabilities, [0.6, 0.8, 0.2])
    np.testing.assert_allclose(shaded.strengths, [[0.6, 0.6], [0.8, 0.8 * FAINT], [0.2, 0.2]])
    assert shaded.active.tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize(
    ("motion", "outlined"),
    [
        ([LEFT, RIGHT, BOTH], [True, True]),  # each in two of three
        ([LEFT, LEFT, RIGHT], [True, False]),
        ([LEFT, RIGHT, LEFT, RIGHT], [True, True]),  # each in half
        ([RIGHT, BOTH, RIGHT, RIGHT], [False, True]),
    ],
)
def test_sides_are_outlined_that_were_meant_in_half_of_the_active_windows(motion, outlined):
    shaded = shading(of_windows([[0.1, 0.8, 0.1]] * len(motion), motion))
    assert shaded.active[1].tolist() == outlined
    assert not shaded.active[[0, 2]].any()


def test_windows_without_an_answer_do_not_count():
    both = of_windows([[0.6, 0.8, 0.2], [np.nan] * 3], [LEFT, RIGHT])
    np.testing.assert_array_equal(shading(both).strengths, shading(both, 0).strengths)
    for nothing in (shading(both, 1), shading(both, -1)):
        assert np.isnan(nothing.probabilities).all()
        assert not nothing.strengths.any()
        assert not nothing.active.any()


def test_a_window_is_shown_as_it_is():
    shaded = shading(of_windows([[0.6, 0.8, 0.2], [0.1, 0.2, 0.9]], [LEFT, RIGHT]), 1)
    np.testing.assert_allclose(shaded.strengths, [[0.1, 0.1], [0.2 * FAINT, 0.2], [0.9, 0.9]])
    assert shaded.active.tolist() == [[False, False], [False, False], [True, True]]
