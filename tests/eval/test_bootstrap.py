"""Bootstrap over activities: equal to average precision on the drawn clips, seeded, wide if activities differ."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.eval import bootstrap
from musclemap_jax.eval.average_precision import macro_mean, per_region_average_precision
from musclemap_jax.eval.bootstrap import draw_activities, drawn_average_precision, interval, macro_means

ACTIVITIES = [f"activity {i % 7}" for i in range(40)]


@pytest.mark.parametrize("ties", [False, True])
def test_a_repetition_is_the_average_precision_of_its_clips(ties):
    random = np.random.default_rng(5)
    labels = (random.random((40, 3)) < 0.3).astype(np.uint8)
    labels[:, 2] *= np.arange(40) % 7 == 0  # one activity shows it, so some repetitions do not
    scores = random.normal(size=(40, 3)).astype(np.float32)
    scores = scores.round() if ties else scores
    draws = draw_activities("test_new", ACTIVITIES)
    drawn = drawn_average_precision(scores, labels, ACTIVITIES, draws)
    places = np.array([int(name[-1]) for name in ACTIVITIES])
    for repetition in (0, 1, 499, 999):
        clips = np.repeat(np.arange(40), draws[repetition].astype(int)[places])
        expected = per_region_average_precision(scores[clips], labels[clips], np.ones(len(clips), bool))
        np.testing.assert_allclose(drawn[repetition], expected, rtol=1e-5)
        assert macro_means(drawn)[repetition] == pytest.approx(macro_mean(expected), rel=1e-5)
    assert 0 < np.isnan(drawn[:, 2]).sum() < 1000


def test_as_many_activities_are_drawn_as_there_are_and_always_the_same():
    draws = draw_activities("test_new", ACTIVITIES)
    assert draws.shape == (bootstrap.NUM_REPETITIONS, 7)
    assert (draws.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(draws, draw_activities("test_new", ACTIVITIES[::-1]))
    assert (draws != draw_activities("test_known", ACTIVITIES)).any()
    # Each activity is drawn once on average, and misses a draw with probability (1 - 1/7)^7.
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose((draws == 0).mean(axis=0), (6 / 7) ** 7, atol=0.05)


def test_spellings_are_drawn_together():
    names, respelled = ["sit up", "plank", "sit up"] * 4, ["sit up", "plank", "sit-up"] * 4
    scores = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    labels = np.tile([[1, 0], [0, 1], [1, 1]], (4, 1))
    expected = drawn_average_precision(scores, labels, names, draw_activities("test_new", names))
    drawn = drawn_average_precision(scores, labels, respelled, draw_activities("test_new", respelled))
    np.testing.assert_array_equal(drawn, expected)


def test_the_interval_is_of_activities_not_of_clips():
    # Half of the activities are ranked right and half wrong, each with many equal clips.
    places = np.repeat(np.arange(10), 50)
    labels = np.tile([1, 0], 250)[:, None]
    scores = np.where(places % 2 == 0, labels[:, 0], 1 - labels[:, 0])[:, None].astype(np.float32)

    def width(activities):
        draws = draw_activities("test_new", activities)
        low, high = interval(0.5, macro_means(drawn_average_precision(scores, labels, activities, draws)))
        return high - low

    by_activity, by_clip = width([f"{place}" for place in places]), width([f"{clip:03d}" for clip in range(500)])
    assert by_activity > 3 * by_clip


def test_an_interval_leaves_out_one_fortieth_at_each_end_and_is_around_the_estimate():
    values = np.append(np.linspace(0, 0.2, 1001), [np.nan] * 5)
    assert interval(0.5, values) == pytest.approx((0.405, 0.595))
    assert interval(0.95, values) == pytest.approx((0.855, 1.0))
    assert interval(0.5, np.full(3, np.nan)) is None


def test_a_region_without_a_positive_is_nan_and_so_is_a_mean_without_regions():
    draws = draw_activities("val_new", ["a", "b"])
    drawn = drawn_average_precision(np.zeros((2, 2)), np.zeros((2, 2), int), ["a", "b"], draws)
    assert np.isnan(drawn).all()
    assert np.isnan(macro_means(drawn)).all()
