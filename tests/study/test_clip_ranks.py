"""Ranks in place of scores: the same average precision, to the bit, in a few tens of KiB."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from musclemap_jax.eval.average_precision import per_region_average_precision
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.study.clip_ranks import pack, unpack


def predictions_of(num_clips, seed=0, num_values=None):
    """Two branches and the whole, twenty regions; scores with ties if there are few values."""
    rng = np.random.default_rng(seed)
    draw = (lambda: rng.integers(-num_values, num_values, (num_clips, 20)) / 7) if num_values else None
    scores = [(draw or (lambda: rng.normal(size=(num_clips, 20))))().astype(np.float32) for _ in range(3)]
    labels = (rng.random((num_clips, 20)) < 0.2).astype(np.uint8)
    clip_ids = [f"bodyweight_squat_{number:04d}" for number in range(num_clips)]
    activities = [f"activity {number // 6}" for number in range(num_clips)]
    return SplitPredictions(scores[0], labels, clip_ids, activities, {"video": scores[1], "skeleton": scores[2]})


@hypothesis.given(strategies.integers(1, 300), strategies.integers(0, 1000), strategies.sampled_from([None, 1, 3, 100]))
@hypothesis.settings(max_examples=25)
def test_ranks_have_the_average_precision_of_the_scores(num_clips, seed, num_values):
    expected = predictions_of(num_clips, seed, num_values)
    found = unpack(pack(expected))
    assert (found.clip_ids, found.activities) == (expected.clip_ids, expected.activities)
    np.testing.assert_array_equal(found.labels, expected.labels)
    every_clip = np.ones(num_clips, bool)
    pairs = [(found.scores, expected.scores)]
    pairs += [(found.branch_scores[branch], scores) for branch, scores in expected.branch_scores.items()]
    for ranks, scores in pairs:
        np.testing.assert_array_equal(
            per_region_average_precision(ranks, expected.labels, every_clip),
            per_region_average_precision(scores, expected.labels, every_clip),
        )


def test_ranks_by_hand():
    scores = np.array([[0.5, -1.0], [2.0, -1.0], [0.5, 7.0]], np.float32)
    predictions = SplitPredictions(scores, np.array([[1, 0], [0, 0], [1, 1]], np.uint8), ["a", "b", "c"])
    found = unpack(pack(predictions))
    assert found.scores.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert found.labels.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert list(found.activities) == []
    assert found.branch_scores == {}


def test_a_run_on_the_rendered_clips_takes_about_forty_kib():
    sizes = {"val_known": 108, "val_new": 76, "test_known": 162, "test_new": 114}
    total = sum(len(pack(predictions_of(size))) for size in sizes.values())
    assert 30_000 < total < 45_000


def test_the_text_depends_on_the_predictions_alone():
    assert pack(predictions_of(30)) == pack(predictions_of(30))


@pytest.mark.parametrize(
    "damage", [lambda text: text[:50], lambda text: "?" + text, lambda text: "", lambda text: "AA"]
)
def test_damaged_text_is_a_value_error(damage):
    with pytest.raises(ValueError, match=r".+"):
        unpack(damage(pack(predictions_of(5))))
