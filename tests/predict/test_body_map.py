"""The body map: every region is drawn, sides are the person's own, and both ways of drawing agree."""

import importlib.resources
import re

import cv2
import numpy as np
import pytest

from musclemap_jax.predict import body_map
from musclemap_jax.predict.body_map import VIEWS, Shape, body_shapes, has_body_map, shade
from musclemap_jax.taxonomy import MUSCLE_REGIONS

NUM_REGIONS = len(MUSCLE_REGIONS)


def test_every_muscle_region_is_drawn_and_no_other():
    assert {shape.region for view in VIEWS for shape in body_shapes(view)} == {*MUSCLE_REGIONS, None}


@pytest.mark.parametrize("view", VIEWS)
def test_sides_are_the_persons_own(view):
    """Facing the viewer, the left arm is at the picture's right; seen from behind, at its left."""
    for shape in body_shapes(view):
        middle = shape.corners[:, 0].mean()
        if shape.side == "both":
            assert middle == pytest.approx(50, abs=0.5)
        else:
            assert (middle > 50) == ((shape.side == "left") == (view == "front"))


@pytest.mark.parametrize("view", VIEWS)
def test_regions_do_not_overlap(view):
    left, top, width, height = body_map.BOX
    count = np.zeros((int(10 * height), int(10 * width)), np.uint8)
    for shape in body_shapes(view):
        if shape.region is not None:
            one = np.zeros_like(count)
            cv2.fillPoly(one, [np.rint(10 * (shape.corners - [left, top])).astype(int)], 1)
            assert one.sum() > 100 * 3  # square units
            count += one
    assert (count > 1).sum() < 0.003 * (count > 0).sum()
    margin = 10 * np.array([3, 3])
    assert not count[: margin[0]].any()
    assert not count[:, : margin[1]].any()
    assert not count[-margin[0] :].any()
    assert not count[:, -margin[1] :].any()


def test_corners_are_rounded():
    square = Shape("chest", "both", np.array([[0.0, 0], [10, 0], [10, 1], [0, 1]]))
    # The radius is 1.6 units, and half of a shorter side.
    assert square.path == (
        "M0.0 0.5Q0.0 0.0 1.6 0.0L8.4 0.0Q10.0 0.0 10.0 0.5L10.0 0.5Q10.0 1.0 8.4 1.0L1.6 1.0Q0.0 1.0 0.0 0.5Z"
    )
    # Five points of each curve; the third one of the first is (a + 2 b + c) / 4.
    np.testing.assert_allclose(square.outline[2], [0.4, 0.125])
    assert square.outline.shape == (20, 2)


@pytest.mark.parametrize("view", VIEWS)
def test_path_and_outline_are_the_same_shape(view):
    for shape in body_shapes(view):
        numbers = np.array(re.findall(r"-?[\d.]+", shape.path), float).reshape(-1, 3, 2)
        np.testing.assert_allclose(numbers[:, 0], shape.outline[::5], atol=0.051)
        np.testing.assert_allclose(numbers[:, 2], shape.outline[4::5], atol=0.051)


def test_left_and_right_are_shaded_apart():
    probabilities, active = np.zeros((NUM_REGIONS, 2)), np.zeros((NUM_REGIONS, 2), bool)
    biceps, head = MUSCLE_REGIONS.index("biceps"), MUSCLE_REGIONS.index("neck and head")
    probabilities[biceps] = [0.9, 0.2]
    active[biceps] = [True, False]
    probabilities[head] = [0.3, 0.6]
    active[head] = [False, True]
    shaded = shade("front", MUSCLE_REGIONS, probabilities, active)
    arms = {each.shape.side: (each.probability, each.active) for each in shaded if each.shape.region == "biceps"}
    assert arms == {"left": (0.9, True), "right": (0.2, False)}
    heads = {
        each.shape.side: (each.probability, each.active) for each in shaded if each.shape.region == "neck and head"
    }
    assert heads == {"both": (0.6, True), "left": (0.3, False), "right": (0.6, True)}


def test_one_value_counts_for_both_sides():
    probabilities = np.linspace(0, 1, NUM_REGIONS)
    for view in VIEWS:
        for each in shade(view, MUSCLE_REGIONS, probabilities, probabilities > 0.5):
            assert each.probability == probabilities[MUSCLE_REGIONS.index(each.shape.region)]
            assert each.active == (each.probability > 0.5)


def test_regions_that_a_model_lacks_have_no_value():
    shaded = shade("back", ["gluteus"], np.array([0.7]), np.array([True]))
    values = {each.shape.region: each.probability for each in shaded}
    assert values.pop("gluteus") == 0.7
    assert len(values) > 5
    assert np.isnan(list(values.values())).all()


@pytest.mark.parametrize(
    ("regions", "expected"), [(MUSCLE_REGIONS, True), (["chest", "calves"], True), (["chest", "tail"], False)]
)
def test_only_regions_that_are_drawn_have_a_body_map(regions, expected):
    assert has_body_map(regions) == expected


def test_the_notice_lies_beside_the_polygons():
    room = importlib.resources.files("musclemap_jax.predict")
    notice = room.joinpath("body_map.LICENSE.txt").read_text(encoding="utf-8")
    assert "react-body-highlighter 2.0.5" in notice
    assert "Copyright (c) 2020 GV79" in notice
    assert "The above copyright notice and this permission notice shall be included" in notice
    assert '"origin": "own"' in room.joinpath("body_map.json").read_text(encoding="utf-8")
