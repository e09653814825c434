"""Predictions assembled from the padded batches of several processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_jax.eval.predictions import from_padded

CLIP_IDS = ["a", "b", "c", "d"]
SCORES = np.arange(8, dtype=np.float32).reshape(4, 2)
LABELS = np.array([[0, 1], [1, 0], [1, 1], [0, 1]], np.float32)


@given(st.permutations([0, 1, 2, 3, -1, -1, -1]))
@settings(max_examples=40, deadline=None)
def test_any_order_and_padding_give_the_split_in_its_order(index):
    index = np.array(index)
    valid = index >= 0
    scores = np.where(valid[:, None], SCORES[index], np.nan)
    labels = np.where(valid[:, None], LABELS[index], 1)
    # Padding may repeat the position of a real clip.
    index = np.maximum(index, 0)
    result = from_padded(scores, labels, valid, index, CLIP_IDS, ["squat"] * 4, {"video": -scores})
    np.testing.assert_array_equal(result.scores, SCORES)
    np.testing.assert_array_equal(result.branch_scores["video"], -SCORES)
    np.testing.assert_array_equal(result.labels, LABELS)
    assert result.labels.dtype == np.uint8
    assert result.clip_ids == tuple(CLIP_IDS)
    assert result.activities == ("squat",) * 4


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, 2], r"1 missing \(positions \[3\]\)"),
        ([0, 1, 2, 3, 3], r"1 more than once \(\[3\]\)"),
        ([0, 1, 2, 3, 4], r"1 outside the split \(\[4\]\)"),
    ],
)
def test_a_missing_or_repeated_clip_is_rejected(index, message):
    rows = np.array(index) % 4
    with pytest.raises(ValueError, match=message):
        from_padded(SCORES[rows], LABELS[rows], np.ones(len(index)), np.array(index), CLIP_IDS)


@pytest.mark.usefixtures("without_type_checks")
def test_shapes_that_differ_are_rejected():
    with pytest.raises(ValueError, match=r"got \(4, 2\), \(3, 2\), \(4,\) and \(4,\)"):
        from_padded(SCORES, LABELS[:3], np.ones(4), np.arange(4), CLIP_IDS)
