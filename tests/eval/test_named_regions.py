"""Metrics of named sets of regions, and of the rows that need no model, by hand."""

import dataclasses

import numpy as np
import pytest

from musclemap_jax.eval.named_regions import SetMetrics, all_regions, most_frequent_regions, set_metrics

ACTIVITIES = ["squat", "squat", "plank"]
LABELS = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1]], np.uint8)
FREQUENCY = np.array([3, 9, 3, 1])
"""Order of the regions: 1, 0, 2, 3."""


def test_set_metrics_by_hand():
    named = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]], bool)
    metrics = set_metrics(named, LABELS, ACTIVITIES)
    # Squat: recalls 1/2 and 1, plank 2/3. Named, with weights 1/4, 1/4, 1/2: 2, 1, 2; of these active 1, 1, 2.
    assert metrics.recall == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert metrics.mean_regions == pytest.approx(2 / 4 + 1 / 4 + 2 / 2)
    assert metrics.precision == pytest.approx((1 / 4 + 1 / 4 + 2 / 2) / (7 / 4))


def test_background_clips_have_no_recall_and_cost_precision():
    labels = np.array([[1, 0], [0, 0]])
    metrics = set_metrics(np.ones((2, 2), bool), labels, ["squat", "rest"])
    assert metrics == SetMetrics(recall=1.0, precision=0.25, mean_regions=2.0)
    nothing = set_metrics(np.zeros((2, 2), bool), 0 * labels, ["squat", "rest"])
    np.testing.assert_equal(dataclasses.astuple(nothing), (np.nan, np.nan, 0.0))


def test_all_regions_reach_any_recall():
    metrics = all_regions(LABELS, ACTIVITIES)
    assert (metrics.recall, metrics.mean_regions) == pytest.approx((1, 4))
    assert metrics.precision == pytest.approx((2 / 4 + 1 / 4 + 3 / 2) / 4)


@pytest.mark.parametrize("num_named", [1, 2, 3, 4])
def test_the_most_frequent_regions_are_named_in_order(num_named):
    named = np.zeros((3, 4), bool)
    named[:, [1, 0, 2, 3][:num_named]] = True
    expected = set_metrics(named, LABELS, ACTIVITIES)
    metrics = most_frequent_regions(FREQUENCY, LABELS, ACTIVITIES, expected.recall)
    assert (metrics.recall, metrics.mean_regions) == pytest.approx((expected.recall, num_named))
    assert metrics.precision == pytest.approx(expected.precision)


def test_a_recall_between_two_numbers_of_regions_is_reached_exactly():
    # One region: recall (1/4 + 1/3) / 2 = 7/24, two: (1 + 1/3) / 2 = 2/3. Half-way between lies 23/48, by 1.5 regions;
    # of these 1/4 + 1/2 = 3/4 and 5/4 are active, so 1 of 1.5.
    metrics = most_frequent_regions(FREQUENCY, LABELS, ACTIVITIES, 23 / 48)
    assert metrics.recall == pytest.approx(23 / 48)
    assert metrics.mean_regions == pytest.approx(1.5)
    assert metrics.precision == pytest.approx(1 / 1.5)


def test_a_recall_of_0_takes_no_region_and_an_undefined_one_stays_undefined():
    for recall, expected in ((0.0, (0.0, np.nan, 0.0)), (np.nan, (np.nan, np.nan, np.nan))):
        metrics = most_frequent_regions(FREQUENCY, LABELS, ACTIVITIES, recall)
        np.testing.assert_equal(dataclasses.astuple(metrics), expected)
