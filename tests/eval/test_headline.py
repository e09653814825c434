"""Differences of two scores on the same clips."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.eval.headline import Difference, differences, score_split, unscored
from musclemap_jax.eval.predictions import SplitPredictions


def scored(scores, labels, activities, split="test_new"):
    names = [str(row) for row in range(len(labels))]
    return score_split(split, SplitPredictions(scores[:, None], labels[:, None], names, activities))


@pytest.fixture
def clips():
    random = np.random.default_rng(0)
    labels = (random.random(60) < 0.5).astype(np.uint8)
    return random.normal(size=60) + labels, labels, [f"activity {row % 12}" for row in range(60)]


def test_what_scores_the_same_differs_by_nothing_in_every_draw(clips):
    model = {split: scored(*clips, split) for split in ("test_known", "test_new")}
    found = differences(model, model)
    assert found == {name: Difference(0.0, (0.0, 0.0)) for name in ("test_known", "test_new", "test_mean")}
    assert not found["test_mean"].is_above


def test_a_paired_interval_is_narrower_than_that_of_either_score(clips):
    scores, labels, activities = clips
    model, other = scored(scores, labels, activities), scored(scores + 0.01 * np.arange(60) % 0.3, labels, activities)
    difference = differences({"test_new": model}, {"test_new": other})["test_new"]
    assert difference.mean_ap == pytest.approx(model.headline.mean_ap - other.headline.mean_ap)
    low, high = difference.interval
    assert low <= difference.mean_ap <= high
    width = [np.subtract(*each[::-1]) for each in (difference.interval, model.headline.interval)]
    assert width[0] < width[1] / 2


def test_a_difference_may_be_negative_and_is_clear_if_its_whole_interval_is(clips):
    scores, labels, activities = clips
    perfect, bad = scored(labels + 0.0, labels, activities), scored(-scores, labels, activities)
    better, worse = (
        differences({"test_new": a}, {"test_new": b})["test_new"] for a, b in ((perfect, bad), (bad, perfect))
    )
    assert better.is_above
    assert better.is_clear
    assert worse.interval[0] < worse.mean_ap < worse.interval[1] < 0
    assert not worse.is_above
    assert not worse.is_clear
    assert Difference(0.1).is_clear
    assert not Difference(0.1, (-0.1, 0.3)).is_clear
    assert not Difference(float("nan")).is_above


def test_nothing_is_known_of_what_has_no_score_or_no_activities(clips):
    scores, labels, activities = clips
    model = scored(scores, labels, activities)
    found = differences({"test_new": model}, {"test_new": unscored(model)})["test_new"]
    assert np.isnan(found.mean_ap)
    assert found.interval is None
    alone = scored(scores, labels, ())
    assert differences({"test_new": alone}, {"test_new": alone})["test_new"] == Difference(0.0)
