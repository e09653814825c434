"""The heat map of regions against time."""

import numpy as np
import pytest

from musclemap_jax.predict import timeline as module
from musclemap_jax.predict.timeline import clock, ticks, timeline, window_spans
from tests.predict.handmade import prediction

REGIONS = ("chest", "back")


def test_windows_that_overlap_meet_in_the_middle():
    np.testing.assert_allclose(window_spans(np.array([[0.0, 2], [2, 4], [4, 5]])), [[0, 2], [2, 4], [4, 5]])
    np.testing.assert_allclose(window_spans(np.array([[0.0, 4], [2, 6], [4, 8]])), [[0, 3], [3, 5], [5, 8]])
    np.testing.assert_allclose(window_spans(np.array([[0.0, 2], [5, 7]])), [[0, 2], [5, 7]])
    assert window_spans(np.zeros((0, 2))).shape == (0, 2)


def test_gaps_between_windows_stay_empty():
    """A person who left and came back has no windows in between."""
    times_s = np.array([[0.0, 1], [1, 2], [5, 6]])
    drawn = timeline(prediction([[0.2, 0.9]] * 3, REGIONS, times_s=times_s, duration_s=8.0), order=[0, 1])
    assert drawn.answered == "M0 0H2v2H0zM5 0H6v2H5z"
    assert drawn.shades[0] == (0.2, "M0 0H2v0.9H0zM5 0H6v0.9H5z")
    assert drawn.seen == "M0 0H2v1H0zM5 0H6v1H5z"


def test_cells_of_one_level_are_joined_in_time():
    drawn = timeline(prediction([[0.2, 0.9], [0.2, 0.9], [0.4, 0.0]], REGIONS), order=[1, 0])
    assert drawn.shades == [
        (0.2, "M0 1H2v0.9H0z"),
        (0.4, "M2 1H3v0.9H2z"),
        (0.9, "M0 0H2v0.9H0z"),
    ]
    assert drawn.active == "M0 0.76H2v0.14H0z"
    assert drawn.answered == "M0 0H3v2H0z"
    assert drawn.cells == "M0 0H3v0.9H0zM0 1H3v0.9H0z"
    assert drawn.seen == "M0 0H3v1H0z"
    assert drawn.windows_per_column == 1


def test_windows_without_an_answer_stay_empty():
    drawn = timeline(prediction([[0.2, 0.9], [np.nan, np.nan], [0.2, 0.9]], REGIONS), order=[0, 1])
    assert drawn.answered == "M0 0H1v2H0zM2 0H3v2H2z"
    assert drawn.shades[0] == (0.2, "M0 0H1v0.9H0zM2 0H3v0.9H2z")
    assert drawn.seen == "M0 0H1v1H0zM2 0H3v1H2z"


def test_the_chosen_person_is_followed():
    persons = ((1,), (1, 2), (2,))
    drawn = timeline(prediction(np.zeros((3, 2)), REGIONS, persons=persons, person=1), order=[0, 1])
    assert drawn.seen == "M0 0H2v1H0z"


def test_long_predictions_are_averaged(monkeypatch):
    monkeypatch.setattr(module, "MAX_COLUMNS", 2)
    windows = [[0.2, 0.9], [0.6, 0.1], [np.nan, np.nan], [0.8, 0.2], [1.0, 0.0]]
    drawn = timeline(prediction(windows, REGIONS), order=[0, 1])
    assert drawn.windows_per_column == 3
    # Means of the first two, and of the last two windows.
    assert drawn.shades == [
        (0.1, "M3 1H5v0.9H3z"),
        (0.4, "M0 0H3v0.9H0z"),
        (0.5, "M0 1H3v0.9H0z"),
        (0.9, "M3 0H5v0.9H3z"),
    ]
    assert drawn.active == "M0 0.76H5v0.14H0zM0 1.76H3v0.14H0z"


def test_windows_are_not_averaged_across_a_gap(monkeypatch):
    monkeypatch.setattr(module, "MAX_COLUMNS", 2)
    times_s = np.array([[0.0, 1], [1, 2], [5, 6], [6, 7]])
    drawn = timeline(prediction([[0.2, 0]] * 2 + [[0.6, 0]] * 2, REGIONS, times_s=times_s), order=[0, 1])
    assert drawn.shades == [(0.2, "M0 0H2v0.9H0z"), (0.6, "M5 0H7v0.9H5z")]


def test_the_size_does_not_grow_with_the_video():
    rng = np.random.default_rng(0)
    drawn = timeline(prediction(rng.random((20_000, 20))), order=range(20))
    assert sum(len(path) for _, path in drawn.shades) < 200_000


def test_a_video_without_windows_has_an_empty_map():
    drawn = timeline(prediction(np.zeros((0, 2)), REGIONS), order=[0, 1])
    assert (drawn.shades, drawn.answered, drawn.active, drawn.seen) == ([], "", "", "")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (7, "0:07"), (1.46, "0:01.5"), (59.96, "1:00"), (125, "2:05"), (3750, "1:02:30")],
)
def test_times_read_as_in_a_player(seconds, expected):
    assert clock(seconds) == expected


@pytest.mark.parametrize(
    ("duration_s", "labels"),
    [
        (1.7, ["0 s", "0.5 s", "1 s", "1.5 s"]),
        (33.3, ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]),
        (150, ["0:00", "0:30", "1:00", "1:30", "2:00"]),
        (30 * 3600, ["0:00", "4:00:00", "8:00:00", "12:00:00", "16:00:00", "20:00:00", "24:00:00", "28:00:00"]),
        (50, ["0 s", "10 s", "20 s", "30 s", "40 s"]),
        (0, ["0 s"]),
    ],
)
def test_ticks_are_round_times(duration_s, labels):
    places = ticks(duration_s)
    assert [label for _, label in places] == labels
    np.testing.assert_allclose([place for place, _ in places], places[-1][0] * np.linspace(0, 1, len(places)))
    assert places[-1][0] < 0.97
