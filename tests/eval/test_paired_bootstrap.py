"""Paired differences: by hand, on the same clips only, and with intervals that chance common to both does not widen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from musclemap_jax.eval.bootstrap import draw_activities, drawn_average_precision, interval, macro_means
from musclemap_jax.eval.paired_bootstrap import mean_and_std, paired_difference, same_clips
from musclemap_jax.eval.predictions import SplitPredictions


def test_mean_and_standard_deviation_by_hand():
    assert mean_and_std([0.5, 0.7, 0.9]) == pytest.approx((0.7, 0.2))
    mean, std = mean_and_std([0.25])
    assert mean == 0.25
    assert math.isnan(std)


def test_the_difference_of_pairs_by_hand():
    drawn = [np.linspace(-0.2, 0.2, 1001), np.linspace(-0.4, 0.4, 1001)]
    found = paired_difference([-0.3, -0.1], drawn)
    assert (found.mean, found.std, found.num_pairs) == pytest.approx((-0.2, 0.1 * math.sqrt(2), 2))
    # The mean of both pairs in each repetition runs from -0.3 to 0.3, of which one fortieth is left out at each end.
    assert found.interval == pytest.approx((-0.2 - 0.285, -0.2 + 0.285))


def test_a_single_activity_gives_no_interval():
    assert paired_difference([0.1], [None]).interval is None


def test_the_interval_of_a_difference_ends_at_minus_one():
    low, high = paired_difference([-0.95], [np.linspace(-0.2, 0.2, 1001)]).interval
    assert (low, high) == pytest.approx((-1.0, -0.76))


def test_what_is_hard_for_both_models_does_not_widen_the_interval():
    rng = np.random.default_rng(2)
    activities = [f"activity {i // 10}" for i in range(100)]
    labels = np.tile([1, 0], 50)[:, None]
    easy = np.repeat(np.arange(10) % 2, 10)[:, None]
    scores = easy * labels + rng.normal(size=(100, 1))
    better = np.where(rng.random((100, 1)) < 0.1, 2.0 * labels, scores)
    draws = draw_activities("test_new", activities)
    one, other = (macro_means(drawn_average_precision(each, labels, activities, draws)) for each in (better, scores))
    low, high = paired_difference([one.mean() - other.mean()], [one - other]).interval
    alone = interval(one.mean(), one)
    assert 0 < low < high
    assert high - low < 0.3 * (alone[1] - alone[0])


def test_same_clips():
    clips = SplitPredictions(np.zeros((2, 1)), np.array([[0], [1]]), ["a", "b"], ["x", "y"])
    assert same_clips(clips, clips._replace(scores=np.ones((2, 1)), clip_ids=("a", "b")))
    for other in (
        clips._replace(clip_ids=["b", "a"]),
        clips._replace(activities=["x", "x"]),
        clips._replace(labels=np.array([[1], [1]])),
    ):
        assert not same_clips(clips, other)
