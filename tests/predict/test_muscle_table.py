"""The table in the terminal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from musclemap_jax.predict.muscle_table import active_times, muscle_table
from tests.predict.predictions import squat

WIDE = """\
videos/squat.mp4: 9.5 s, 3 of 4 windows, by video and skeleton
  region      prob.              active
* quadriceps   90 %  #########   0.0-5.0, 7.0-9.5 s
* gluteus      40 %  ####        0.0-2.5 s
  biceps       31 %  ###
  chest        10 %  #
The left arm moved clearly more than the right one in 1 of 3 windows.
Active: above 50 %.
Warning: Nobody is seen from 2.5 to 7.5 s."""

NARROW = """\
videos/squat.mp4: 9.5 s, 3
  of 4 windows, by video
  and skeleton
  region      prob.  active
* quadriceps   90 %  100 %
* gluteus      40 %  33 %
  biceps       31 %
  chest        10 %
The left arm moved clearly
  more than the right one
  in 1 of 3 windows.
Active: above 50 %.
Warning: Nobody is seen
  from 2.5 to 7.5 s."""


@pytest.mark.parametrize(("width", "expected"), [(80, WIDE), (27, NARROW)])
def test_regions_by_probability_with_the_times_when_they_are_active(width, expected):
    assert muscle_table(squat(), width) == expected


@pytest.mark.parametrize("width", range(24, 100))
def test_no_line_is_longer_than_the_terminal_is_wide(width):
    names = tuple(f"a muscle region with a long name {number}" for number in range(4))
    for prediction in (squat(), squat(regions=names)):
        assert max(map(len, muscle_table(prediction, width).splitlines())) <= width


def test_windows_that_touch_or_overlap_are_one_stretch():
    times = np.array([[0, 2], [1, 3], [3, 5], [6, 8]], float)
    prediction = squat(times_s=times, active=np.ones((4, 4), bool))
    assert active_times(prediction, 0) == [(0, 5), (6, 8)]


def test_a_video_without_an_answer_has_no_rows():
    none = np.full((4, 4), np.nan)
    silent = squat(probabilities=none, active=np.zeros((4, 4), bool), modalities=((),) * 4, decision_rule="", person=2)
    expected = ["videos/squat.mp4, person 2: no answer in 9.5 s", "Warning: Nobody is seen from 2.5 to 7.5 s."]
    assert muscle_table(silent, 80).splitlines() == expected


def test_of_many_regions_the_active_and_the_twenty_most_probable_are_shown():
    probabilities = np.linspace(0.9, 0.1, 100)[None]
    active = np.zeros((1, 100), bool)
    active[0, 70] = True
    fields = {"regions": tuple(f"region {k}" for k in range(100)), "probabilities": probabilities, "active": active}
    one_window = {"times_s": np.array([[0.0, 2.5]]), "modalities": (("video",),), "persons": ((),)}
    one_window["limb_motion"] = np.zeros((1, 2, 2), np.float32)
    lines = muscle_table(dataclasses.replace(squat(), **fields, **one_window), 80).splitlines()
    assert lines[2].split() == ["region", "0", "90", "%", "#########"]
    assert [line.split()[:3] for line in lines if line.startswith("*")] == [["*", "region", "70"]]
    assert "and 79 other regions" in lines
