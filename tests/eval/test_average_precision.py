"""Average precision against hand-computed values, scikit-learn, reference numbers and its own invariances."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import average_precision_score

from musclemap_jax.eval import average_precision as ap

GOLDEN = Path(__file__).parents[1] / "data" / "goldens" / "map.npz"


def average_precision(*arrays):
    """`average_precision` of lists."""
    return ap.average_precision(*map(np.asarray, arrays))


@st.composite
def rankings(draw, max_clips: int = 30):
    """Scores (with ties, extremes and infinities) and labels of one region."""
    num_clips = draw(st.integers(1, max_clips))
    few_values = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-30, 0.25, 3.0, np.inf])
    any_value = st.floats(-1e6, 1e6, width=32)
    scores = draw(npst.arrays(np.float64, num_clips, elements=draw(st.sampled_from([few_values, any_value]))))
    labels = draw(npst.arrays(np.int64, num_clips, elements=st.integers(0, 1)))
    return scores, labels


def test_hand_computed_ranking():
    # Order 1 0 1 0: precision 1 at recall 1/2, then 2/3 at recall 1.
    value = average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], np.ones(4))
    assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-15)


def test_clips_of_equal_score_enter_together():
    # At 0.5 one positive of three enter at once: precision 2/4 for the second half of recall, whatever their order.
    for labels in itertools.permutations([1, 0, 0]):
        value = average_precision([0.9, 0.5, 0.5, 0.5], [1, *labels], np.ones(4))
        assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 4, abs=1e-15)


def test_all_positive_is_one_and_none_positive_is_nan():
    assert average_precision([0.1, 0.7], [1, 1], [1, 1]) == 1.0
    assert math.isnan(average_precision([0.1, 0.7], [0, 0], [1, 1]))
    assert math.isnan(average_precision([0.1, 0.7], [1, 1], [0, 0]))


def test_reference_numbers_of_sklearn():
    golden = np.load(GOLDEN)
    preds, labels, kept = golden["preds"], golden["labels"], golden["kept_classes"]
    values = ap.per_region_average_precision(preds, labels, np.ones(len(preds)))
    # The reference worked in float32.
    np.testing.assert_allclose(values[kept], golden["ap"], atol=1e-6)
    assert np.flatnonzero(np.isnan(values)).tolist() == [7]
    assert values[11] == 1.0
    assert ap.macro_mean(values) == pytest.approx(float(golden["map_official"]), abs=1e-6)
    # Micro over the kept regions, as the reference; region 7 holds negatives only.
    micro = ap.micro_average_precision(preds[:, kept], labels[:, kept], np.ones(len(preds)))
    assert micro == pytest.approx(float(golden["map_micro"]), abs=1e-6)


@given(rankings())
@settings(max_examples=150, deadline=None)
def test_agrees_with_sklearn(ranking):
    scores, labels = ranking
    value = average_precision(scores, labels, np.ones(len(scores)))
    if labels.sum() == 0:
        assert math.isnan(value)
    else:
        # scikit-learn refuses infinities; ranks keep their order and their ties.
        ranks = np.unique(scores, return_inverse=True)[1].astype(np.float64)
        assert value == pytest.approx(average_precision_score(labels, ranks), abs=1e-12)


@given(rankings(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_clips_does_not_matter_to_the_last_bit(ranking, random):
    scores, labels = ranking
    order = list(range(len(scores)))
    random.shuffle(order)
    every_clip = np.ones(len(scores))
    before = average_precision(scores, labels, every_clip)
    np.testing.assert_equal(average_precision(scores[order], labels[order], every_clip), before)


@given(rankings(), st.data())
@settings(max_examples=60, deadline=None)
def test_padding_does_not_change_it(ranking, data):
    scores, labels = ranking
    num_padding = data.draw(st.integers(1, 8))
    at = data.draw(st.lists(st.integers(0, len(scores)), min_size=num_padding, max_size=num_padding))
    padded_scores = np.insert(scores, at, np.nan)
    padded_labels = np.insert(labels, at, 1)
    valid = np.insert(np.ones(len(scores), bool), at, False)
    expected = average_precision(scores, labels, np.ones(len(scores)))
    np.testing.assert_equal(average_precision(padded_scores, padded_labels, valid), expected)


def test_scores_so_close_that_float32_would_tie_them_stay_apart():
    scores = np.array([1.0, 1.0 + 1e-12])
    assert average_precision(scores, [1, 0], [1, 1]) == 0.5
    assert average_precision(scores, [0, 1], [1, 1]) == 1.0


def test_macro_mean_leaves_undefined_regions_out():
    assert ap.macro_mean(np.array([0.5, np.nan, 1.0])) == 0.75
    assert math.isnan(ap.macro_mean(np.array([np.nan, np.nan])))


@pytest.mark.parametrize(("num_positives", "num_clips"), [(1, 1), (1, 5), (2, 5), (5, 6), (6, 6)])
def test_random_floor_is_the_mean_over_all_orders(num_positives, num_clips):
    values = []
    for positives in itertools.combinations(range(num_clips), num_positives):
        labels = np.isin(np.arange(num_clips), positives)
        values.append(average_precision(-np.arange(num_clips), labels, np.ones(num_clips)))
    assert ap.random_ranking_ap(num_positives, num_clips) == pytest.approx(np.mean(values), abs=1e-12)


def test_all_ones_floor_is_the_average_precision_of_a_constant_score():
    labels = np.array([1, 0, 0, 1, 0])
    assert ap.constant_score_ap(2, 5) == average_precision(np.ones(5), labels, np.ones(5)) == 0.4
    assert math.isnan(ap.constant_score_ap(0, 5))
    assert math.isnan(ap.random_ranking_ap(0, 5))


@pytest.mark.parametrize(
    ("scores", "labels", "valid", "message"),
    [
        ([np.nan, 1.0, np.nan], [0, 1, 1], [0, 1, 1], r"scores of 1 valid clips are NaN.*\[1\]"),
        ([0.1, 0.2], [0, 2], [1, 1], r"labels must be 0 or 1, got values \[0, 2\]"),
        ([0.1, 0.2], [0, 1, 1], [1, 1], r"got labels \(3,\) and clip_valid \(2,\)"),
        ([[0.1, 0.2]], [[0, 1]], [1], r"scores must have shape \(B,\), got \(1, 2\)"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_invalid_input_is_rejected(scores, labels, valid, message):
    with pytest.raises(ValueError, match=message):
        average_precision(scores, labels, valid)
