"""The body map: every region is drawn, sides are the person's own, and both ways of drawing agree."""

import importlib.resources
import re

import cv2
import numpy as np
import pytest

from musclemap_jax.predict import body_map
from musclemap_jax.predict.body_map import VIEWS, Shape, body_shapes, has_body_map, shade
from musclemap_jax.predict.shading import Shading, shading
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.predict.handmade import prediction

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
    strengths, active = np.zeros((NUM_REGIONS, 2)), np.zeros((NUM_REGIONS, 2), bool)
    biceps, head = MUSCLE_REGIONS.index("biceps"), MUSCLE_REGIONS.index("neck and head")
    strengths[biceps] = [0.9, 0.2]
    active[biceps] = [True, False]
    strengths[head] = [0.3, 0.6]
    active[head] = [False, True]
    shaded = shade("front", Shading(MUSCLE_REGIONS, np.full(NUM_REGIONS, 0.9), strengths, active))

    def of(region):
        return {
            each.shape.side: (each.strength, each.active, each.fainter)
            for each in shaded
            if each.shape.region == region
        }

    assert of("biceps") == {"left": (0.9, True, False), "right": (0.2, False, True)}
    # What lies on the middle line shows the stronger side.
    assert of("neck and head") == {"both": (0.6, True, False), "left": (0.3, False, True), "right": (0.6, True, False)}
    assert {each.probability for each in shaded} == {0.9}


@pytest.mark.parametrize(("view", "left_half"), [("front", "right"), ("back", "left")])
def test_the_left_arm_is_where_a_viewer_sees_it(view, left_half):
    """A person who faces the viewer has the left arm at the picture's right, and from behind at its left."""
    side = prediction([[0.8] * 20], limb_motion=np.array([[[0.9, 0.1], [0, 0]]], np.float32))
    for drawn in shade(view, shading(side)):
        if drawn.shape.region == "forearms":
            there = "left" if drawn.shape.corners[:, 0].mean() < 50 else "right"
            assert drawn.fainter == ((there == "left") == (left_half == "right"))
            assert drawn.strength == pytest.approx(0.24 if drawn.fainter else 0.8)


def test_one_value_counts_for_both_sides():
    probabilities = np.linspace(0, 1, NUM_REGIONS)
    for view in VIEWS:
        for each in shade(view, shading(prediction([probabilities]))):
            assert each.probability == each.strength == probabilities[MUSCLE_REGIONS.index(each.shape.region)]
            assert each.active == (each.probability > 0.5)
            assert not each.fainter


def test_regions_that_a_model_lacks_have_no_value():
    shaded = shade("back", shading(prediction([[0.7]], ["gluteus"])))
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
