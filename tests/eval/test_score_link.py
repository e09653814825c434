"""Scores from logits: hand-computed log-odds of a softmax, extremes and missing logits."""

import numpy as np
import pytest

from musclemap_jax.eval.score_link import LOGITS, SOFTMAX, from_logits, log_odds, probabilities, reported_scores


def test_a_sigmoid_has_its_logits_as_log_odds():
    logits = np.array([[-1.5, 0.25]], np.float32)
    scores = log_odds(logits, "sigmoid")
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, logits)


def test_log_odds_of_a_softmax_by_hand():
    # Probabilities 1/8, 2/8 and 5/8, whatever is added to all logits.
    logits = np.log([[1.0, 2.0, 5.0]]) + [[0.0], [100.0]]
    expected = np.log([1 / 7, 2 / 6, 5 / 3])
    np.testing.assert_allclose(log_odds(logits, "softmax"), [expected, expected], atol=1e-12)


def test_a_certain_softmax_stays_finite_and_in_order():
    scores = log_odds(np.array([[1000.0, 0.0, -5.0], [30.0, 0.0, 0.0]]), "softmax")
    assert np.isfinite(scores).all()
    assert scores[0, 0] > scores[0, 1] > scores[0, 2]
    assert scores[0, 0] > scores[1, 0] > scores[0, 1]
    assert scores[0, 0] == pytest.approx(53 * np.log(2))
    assert log_odds(np.array([[3.0]]), "softmax") == pytest.approx(53 * np.log(2))


def test_missing_logits_stay_missing():
    logits = np.array([[np.nan, np.nan], [0.0, 0.0]])
    for link in ("sigmoid", "softmax"):
        assert np.isnan(log_odds(logits, link)).tolist() == [[True, True], [False, False]]


def test_probabilities_do_not_overflow():
    values = probabilities(np.array([-2000.0, 0.0, np.log(3), 2000.0, np.nan]))
    np.testing.assert_allclose(values, [0, 0.5, 0.75, 1, np.nan], atol=1e-15)


def test_what_is_ranked_follows_the_link_and_the_choice():
    assert reported_scores("sigmoid", "link") == reported_scores("sigmoid", "logits") == (LOGITS,)
    assert reported_scores("softmax", "link") == (SOFTMAX, LOGITS)
    assert reported_scores("softmax", "logits") == (LOGITS, SOFTMAX)


def test_a_softmax_orders_clips_otherwise_than_logits_do():
    logits = np.array([[5.0, 5.0], [1.0, -3.0]])  # softmax: 1/2 each; 0.98 and 0.02
    np.testing.assert_array_equal(from_logits(logits, LOGITS), logits)
    ranked = from_logits(logits, SOFTMAX)
    np.testing.assert_allclose(ranked, [[0, 0], [4, -4]], atol=1e-12)
