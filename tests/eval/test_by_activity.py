"""Metrics of each activity, computed by hand."""

from __future__ import annotations

import math

import numpy as np

from musclemap_jax.eval.by_activity import metrics_by_activity
from musclemap_jax.eval.predictions import SplitPredictions

REGIONS = ("arm", "leg", "neck", "back")


def rows(scores, labels, activities):
    scores, labels = np.array(scores, float), np.array(labels)
    clip_ids = [str(i) for i in range(len(scores))]
    return metrics_by_activity(SplitPredictions(scores, labels, clip_ids, activities), REGIONS)


def test_regions_outside_the_highest_scores_are_missed():
    squat, plank = rows(
        [[4, 3, 2, 1], [1, 4, 3, 2], [4, 1, 3, 2]],
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]],
        ["squat", "squat", "plank"],
    )
    # Clip 1: leg first, arm last of four: neck is in its place.
    assert squat.clip_ap == (1 + (1 + 2 / 4) / 2) / 2
    assert (squat.activity, squat.num_clips, squat.regions) == ("squat", 2, ("arm", "leg"))
    assert (squat.missed, squat.in_their_place) == (("arm",), ("neck",))
    assert (plank.activity, plank.clip_ap, plank.missed, plank.in_their_place) == ("plank", 1.0, (), ())


def test_spellings_are_one_activity():
    (sit_up,) = rows([[2, 1, 0, 0], [1, 2, 0, 0]], [[1, 0, 0, 0]] * 2, ["sit up", "Sit-up"])
    assert (sit_up.activity, sit_up.num_clips) == ("Sit-up", 2)


def test_what_is_missed_in_fewer_than_half_of_the_clips_is_not_listed():
    (squat,) = rows([[2, 1, 0, 0], [2, 1, 0, 0], [1, 2, 0, 0]], [[1, 0, 0, 0]] * 3, ["squat"] * 3)
    assert (squat.missed, squat.in_their_place) == ((), ())
    (squat,) = rows([[2, 1, 0, 0], [1, 2, 0, 0], [1, 2, 0, 0]], [[1, 0, 0, 0]] * 3, ["squat"] * 3)
    assert (squat.missed, squat.in_their_place) == (("arm",), ("leg",))


def test_a_region_that_most_clips_show_is_in_no_place_for_one_that_does_not():
    (squat,) = rows([[2, 1, 0, 0]] * 3, [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], ["squat"] * 3)
    assert squat.in_their_place == ()


def test_the_most_often_missed_come_first():
    (squat,) = rows(
        [[0, 0, 1, 2], [3, 0, 1, 2]],
        [[1, 1, 0, 0], [1, 1, 0, 0]],
        ["squat"] * 2,
    )
    assert squat.missed == ("leg", "arm")
    assert squat.in_their_place == ("back", "neck")


def test_equal_scores_name_nothing():
    (squat,) = rows([[1, 1, 1, 1]], [[1, 1, 0, 0]], ["squat"])
    assert squat.missed == ("arm", "leg")
    assert squat.in_their_place == ()
    (all_regions,) = rows([[1, 1, 1, 1]], [[1, 1, 1, 1]], ["squat"])
    assert all_regions.missed == ()


def test_the_worst_come_first_and_activities_without_regions_last():
    found = rows(
        [[2, 1, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [2, 1, 0, 0]],
        [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
        ["right", "wrong", "background", "also right"],
    )
    assert [row.activity for row in found] == ["wrong", "also right", "right", "background"]
    assert math.isnan(found[-1].clip_ap)
    assert (found[-1].regions, found[-1].missed, found[-1].in_their_place) == ((), (), ())


def test_unknown_activities_have_no_rows():
    assert rows([[1, 1, 1, 1]], [[1, 0, 0, 0]], ()) == ()
