"""Decisions: probabilities and active regions from logits, the sentence that explains them, and strict JSON."""

import dataclasses
import json

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.eval.calibration import Calibration
from musclemap_jax.eval.decisions import Decisions, calibrate
from musclemap_jax.eval.named_regions import set_metrics
from musclemap_jax.eval.predictions import SplitPredictions

DECISIONS = Decisions(
    regions=("arm", "leg"),
    link="sigmoid",
    calibration=Calibration("platt", (0.5, 2.0), (1.0, 0.0)),
    thresholds=(-1.0, 0.25),
    recall=0.9,
    split="val_new",
    num_activities=19,
    num_clips=76,
    date="2026-11-30",
)
WITH_TEMPERATURE = dataclasses.replace(DECISIONS, calibration=Calibration("temperature", (0.5, 0.5), (0.0, 0.0)))


def made_up(num_activities, offsets=(0.0, 0.0, 0.0), seed=0):
    """Predictions of activities of four clips each, whose logits are shifted by region."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.random((num_activities, len(offsets))) < 0.5, 4, axis=0)
    labels[::4, 0] = True
    logits = (random.normal(size=labels.shape) + 3 * labels - 1.5 + np.array(offsets)).astype(np.float32)
    clip_ids = [f"clip {number}" for number in range(len(labels))]
    activities = [f"activity {number // 4:03d}" for number in range(len(labels))]
    return SplitPredictions(logits, labels.astype(np.uint8), clip_ids, activities)


def calibrated(predictions, recall=0.8, link="sigmoid", split="val_new"):
    regions = [f"region {k}" for k in range(predictions.scores.shape[1])]
    return calibrate(predictions, regions, link=link, recall=recall, split=split, date="2026-11-30")


def test_probabilities_and_active_regions_by_hand():
    logits = np.array([[-1.0, 0.0], [2.0, 0.25]], np.float32)
    np.testing.assert_allclose(DECISIONS.probabilities(logits), 1 / (1 + np.exp([[-0.5, 0], [-2, -0.5]])), atol=1e-12)
    assert DECISIONS.active(logits).tolist() == [[True, False], [True, True]]


def test_thresholds_as_probabilities_by_hand():
    # Log-odds 0.5 * -1 + 1 and 2 * 0.25 + 0.
    np.testing.assert_allclose(DECISIONS.probability_thresholds, 1 / (1 + np.exp([-0.5, -0.5])), atol=1e-12)


def test_windows_without_an_answer_have_no_active_region():
    logits = np.full((2, 3, 2), np.nan, np.float32)
    assert not DECISIONS.active(logits).any()
    assert np.isnan(DECISIONS.probabilities(logits)).all()


def test_a_softmax_is_decided_by_its_log_odds():
    decisions = dataclasses.replace(WITH_TEMPERATURE, link="softmax", thresholds=(0.0, 0.0))
    logits = np.log([[1.0, 3.0], [5.0, 5.0]])
    # Probabilities 1/4 and 3/4, 1/2 and 1/2; the temperature halves the log-odds.
    np.testing.assert_allclose(decisions.probabilities(logits)[0], [1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5)], atol=1e-9)
    assert decisions.active(logits + 100).tolist() == [[False, True], [True, True]]


def test_logits_of_other_regions_are_refused():
    with pytest.raises(ValueError, match=r"expected logits of 2 regions, got shape \(4, 3\)"):
        DECISIONS.active(np.zeros((4, 3)))


def test_the_stated_recall_is_reached_on_the_calibration_clips():
    predictions = made_up(19)
    decisions = calibrated(predictions)
    assert decisions.calibration.method == "temperature"
    assert len(set(decisions.thresholds)) == 1
    named = decisions.active(predictions.scores)
    assert 0.8 <= set_metrics(named, predictions.labels, predictions.activities).recall < 0.82
    assert (decisions.num_activities, decisions.num_clips) == (19, 76)


def test_the_activities_counted_are_those_with_a_recall_whatever_their_spelling():
    predictions = made_up(19)
    predictions.labels[-4:] = 0
    respelled = [name.upper() if i % 2 else name for i, name in enumerate(predictions.activities)]
    assert calibrated(predictions._replace(activities=respelled)).num_activities == 18


def test_an_active_region_is_never_less_probable_than_another():
    for predictions in (made_up(19), made_up(100, offsets=(-4.0, 0.0, 4.0))):
        decisions = calibrated(predictions)
        probabilities, active = decisions.probabilities(predictions.scores), decisions.active(predictions.scores)
        assert probabilities[active].min() >= probabilities[~active].max() - 1e-12


def test_regions_of_shifted_logits_get_thresholds_of_their_own_and_fewer_are_named():
    offsets = (-4.0, 0.0, 4.0)
    decisions = calibrated(made_up(100, offsets))
    assert decisions.calibration.method == "platt"
    np.testing.assert_allclose(np.diff(decisions.thresholds), [4, 4], atol=1)
    further = made_up(200, offsets, seed=1)
    metrics = set_metrics(decisions.active(further.scores), further.labels, further.activities)
    assert metrics.recall == pytest.approx(0.8, abs=0.03)
    assert metrics.precision > 0.9


def test_a_softmax_is_calibrated_on_its_log_odds():
    predictions = made_up(19)
    decisions = calibrated(predictions, link="softmax")
    shifted = predictions._replace(scores=predictions.scores + np.float32(7))
    again = calibrated(shifted, link="softmax")
    np.testing.assert_allclose(again.thresholds, decisions.thresholds, atol=1e-5)
    named = decisions.active(predictions.scores)
    assert set_metrics(named, predictions.labels, predictions.activities).recall == pytest.approx(0.8, abs=0.05)


def test_logits_that_are_not_finite_are_refused():
    predictions = made_up(3)
    predictions.scores[2, 1] = np.inf
    with pytest.raises(ValueError, match="val_new: logits must be finite"):
        calibrated(predictions)


def test_the_rule_says_what_is_stated_and_what_is_guaranteed():
    stated = (
        "A region is active if its score reaches a threshold that names 90 % of the active regions on average over 19 "
        "new activities (76 clips of val_new)"
    )
    assert WITH_TEMPERATURE.rule() == (
        f"{stated}; for a further activity like those, conformal risk control guarantees 85.5 % on average."
    )
    assert DECISIONS.rule() == f"{stated}; nothing is guaranteed for further activities."


def test_decisions_of_known_activities_warn():
    decisions = dataclasses.replace(WITH_TEMPERATURE, split="val_known", recall=0.875)
    assert not decisions.covers_new_activities
    assert decisions.rule() == (
        "A region is active if its score reaches a threshold that names 87.5 % of the active regions on average over "
        "19 known activities (76 clips of val_known); warning: this does not cover new activities, of which far fewer "
        "regions may be named."
    )


@pytest.mark.parametrize("decisions", [DECISIONS, WITH_TEMPERATURE, calibrated(made_up(19), recall=0.9)])
def test_json_is_the_exact_inverse(decisions):
    text = decisions.to_json()
    assert Decisions.from_json(text) == decisions
    assert Decisions.from_json(text).to_json() == text


def changed(**values):
    """The JSON of decisions with other values."""
    return json.dumps({**json.loads(DECISIONS.to_json()), **values})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run/decisions.json: Expecting value: line 1 column 1 .*: evaluate the run again, with --mode=eval"),
        ("[1]", "expected an object with regions, link, .*, got list"),
        ('{"regions": []}', "expected an object with regions, link, .*, got regions"),
        (changed(extra=1), "expected an object with .*, got calibration, date, extra, link"),
        (changed(recall="0.9"), "recall: expected float, got '0.9'"),
        (changed(num_clips=True), "num_clips: expected int, got True"),
        (changed(num_clips=76.5), "num_clips: expected int, got 76.5"),
        (changed(regions="arm"), r"regions: expected tuple\[str, ...\], got 'arm'"),
        (changed(thresholds=[0.0, None]), r"thresholds: expected tuple\[float, ...\], got \[0.0, None\]"),
        (changed(thresholds=[0.0, float("inf")]), "Infinity is not a number"),
        (changed(thresholds=[0.0]), "expected a threshold, slope and intercept for each region"),
        (changed(recall=0), r"expected a recall in \(0, 1\] and positive slopes"),
        (changed(link="tanh"), "unknown link 'tanh' or calibration 'platt'"),
        (changed(calibration={"method": "platt"}), "expected an object with method, slopes, intercepts, got method"),
        (
            changed(calibration={"method": "platt", "slopes": [1, -1], "intercepts": [0, 0]}),
            r"expected a recall in \(0, 1\] and positive slopes",
        ),
    ],
)
def test_damaged_json_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        Decisions.from_json(text, "run/decisions.json")
