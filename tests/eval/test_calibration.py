"""Calibration: the error by hand, recovered parameters, and the choice between the methods."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from musclemap_jax.eval.calibration import Calibration, expected_calibration_error, fit_calibration
from musclemap_jax.eval.score_link import probabilities


def test_calibration_error_by_hand():
    # Bins of width 1/2: {0.1, 0.3, 0.2} with one active of three, {0.5, 0.9, 1.0} with two of three.
    values = np.array([[0.1, 0.3, 0.5], [0.2, 0.9, 1.0]])
    labels = np.array([[0, 1, 0], [0, 1, 1]])
    expected = (3 * abs(0.2 - 1 / 3) + 3 * abs(0.8 - 2 / 3)) / 6
    assert expected_calibration_error(values, labels, num_bins=2) == pytest.approx(expected, abs=1e-15)
    # In one bin they cancel: the mean probability is 0.5, and half of the pairs are active.
    assert expected_calibration_error(values, labels, num_bins=1) == pytest.approx(0, abs=1e-15)


def test_calibration_error_of_perfect_and_of_worst_probabilities():
    labels = np.array([[0, 1], [1, 1]])
    assert expected_calibration_error(labels.astype(float), labels) == 0
    assert expected_calibration_error(1.0 - labels, labels) == 1


def drawn(num_activities, slopes, intercepts, clips_per_activity=4, seed=0):
    """Scores, and labels that are drawn with the probabilities of the given slopes and intercepts."""
    random = np.random.default_rng(seed)
    scores = 3 * random.normal(size=(num_activities * clips_per_activity, len(slopes)))
    true = Calibration("platt", tuple(slopes), tuple(intercepts))
    labels = random.random(scores.shape) < probabilities(true.log_odds(scores))
    activities = [f"activity {number // clips_per_activity:04d}" for number in range(len(scores))]
    return scores, labels.astype(np.uint8), activities, true


def test_a_temperature_is_recovered_and_lowers_the_error():
    scores, labels, activities, _ = drawn(500, [0.4] * 3, [0.0] * 3)
    calibration = fit_calibration(scores, labels, activities).calibration
    assert calibration.method == "temperature"
    np.testing.assert_allclose(calibration.slopes, [0.4] * 3, atol=0.02)
    assert calibration.intercepts == (0.0,) * 3
    before = expected_calibration_error(probabilities(scores), labels)
    after = expected_calibration_error(probabilities(calibration.log_odds(scores)), labels)
    assert before > 0.1
    assert after < 0.02


def test_a_temperature_is_the_logistic_regression_of_scikit_learn():
    scores, labels, activities, _ = drawn(50, [0.4] * 3, [0.0] * 3)
    calibration = fit_calibration(scores, labels, activities).calibration
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    expected = regression.fit(scores.reshape(-1, 1), labels.ravel()).coef_[0, 0]
    assert calibration.slopes[0] == pytest.approx(expected, rel=1e-4)


def test_regions_with_slopes_and_intercepts_of_their_own_are_recovered():
    slopes, intercepts = [0.3, 0.6, 1.0], [-2.0, 0.0, 2.0]
    calibration = fit_calibration(*drawn(2000, slopes, intercepts)[:3]).calibration
    assert calibration.method == "platt"
    np.testing.assert_allclose(calibration.slopes, slopes, atol=0.05)
    np.testing.assert_allclose(calibration.intercepts, intercepts, atol=0.1)


def test_few_activities_keep_regions_near_the_common_temperature():
    slopes, intercepts = [0.5] * 6, np.linspace(-2, 2, 6)
    spreads = []
    for num_activities in (8, 80, 800):
        calibration = fit_calibration(*drawn(num_activities, slopes, intercepts)[:3]).calibration
        assert calibration.method == "platt"
        spreads.append(np.ptp(calibration.intercepts))
    assert spreads[0] < spreads[1] < spreads[2] == pytest.approx(4, abs=0.3)


def test_a_clip_has_no_part_in_what_is_said_about_its_activity_when_held_out():
    scores, labels, activities, _ = drawn(8, [0.5] * 3, [0.0] * 3)
    before = fit_calibration(scores, labels, activities)
    own = np.array(activities) == activities[0]
    labels[own] = 1 - labels[own]
    after = fit_calibration(scores, labels, activities)
    assert before.calibration.method == after.calibration.method == "temperature"
    np.testing.assert_allclose(after.held_out_log_odds[own], before.held_out_log_odds[own], atol=1e-12)
    assert np.abs(after.held_out_log_odds[~own] - before.held_out_log_odds[~own]).max() > 1e-3


def test_order_of_clips_and_repeated_clips_do_not_matter():
    scores, labels, activities, _ = drawn(12, [0.3, 0.6, 1.0], [-2.0, 0.0, 2.0])
    before = fit_calibration(scores, labels, activities).calibration
    order = np.random.default_rng(1).permutation(len(scores))
    # Every clip twice: an activity counts once.
    order = np.concatenate([order, order])
    again = fit_calibration(scores[order], labels[order], [activities[row] for row in order]).calibration
    assert again.method == before.method
    np.testing.assert_allclose(dataclasses.astuple(again)[1:], dataclasses.astuple(before)[1:], atol=1e-8)


@pytest.mark.parametrize("direction", [1, -1])
def test_scores_that_separate_perfectly_or_mislead_stay_finite_and_rising(direction):
    labels = np.tile([[1, 0, 1], [0, 1, 0]], (10, 1))
    scores = direction * (4.0 * labels - 2)
    fitted = fit_calibration(scores, labels, [f"activity {number}" for number in range(20)])
    slopes = np.array(fitted.calibration.slopes)
    assert (slopes > 0).all()
    assert np.isfinite(fitted.held_out_log_odds).all()
    assert np.isfinite(fitted.calibration.log_odds(scores)).all()


def test_one_activity_gets_a_temperature():
    fitted = fit_calibration(np.array([[1.0, -1.0]]), np.array([[1, 0]]), ["squat"])
    assert fitted.calibration.method == "temperature"


def test_scores_and_log_odds_are_inverse():
    calibration = Calibration("platt", (0.5, 2.0), (1.0, -3.0))
    np.testing.assert_allclose(calibration.log_odds(calibration.scores(0.7)), [0.7, 0.7])
