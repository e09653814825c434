"""Metrics of decisions: halves of the new activities, what counts as held out, and the rows that need no model."""

import numpy as np
import pytest

from musclemap_jax.eval.coverage import HALVES, assess
from musclemap_jax.eval.decisions import calibrate
from musclemap_jax.eval.named_regions import most_frequent_regions, set_metrics
from musclemap_jax.eval.predictions import SplitPredictions

REGIONS = ("arm", "leg", "neck")
FREQUENCY = np.array([2, 5, 1])


def split_of(kind, num_activities, seed):
    random = np.random.default_rng(seed)
    activities = [f"{kind} {number % num_activities}" for number in range(4 * num_activities)]
    labels = (random.random((len(activities), 3)) < 0.5).astype(np.uint8)
    labels[:num_activities, 0] = 1
    logits = (random.normal(size=labels.shape) + labels).astype(np.float32)
    return SplitPredictions(logits, labels, [f"{kind} {seed} {row}" for row in range(len(labels))], activities)


@pytest.fixture
def predictions():
    return {
        "val_known": split_of("known", 9, 0),
        "val_new": split_of("new", 7, 1),
        "test_known": split_of("known", 9, 2),
        "test_new": split_of("new", 7, 3),
    }


def decided(predictions, split="val_new"):
    return calibrate(predictions[split], REGIONS, link="sigmoid", recall=0.8, split=split, date="2026-11-30")


def test_new_activities_are_scored_by_the_other_half(predictions):
    metrics = assess(decided(predictions), predictions, FREQUENCY)
    assert list(metrics.coverage) == ["test_known", "test_new", *HALVES]
    assert list(metrics.calibration_error) == ["val_known", "val_new", "test_known", "test_new"]
    calibrating, scored = predictions["val_new"], predictions["test_new"]
    first = np.isin(scored.activities, ["new 0", "new 2", "new 4", "new 6"])
    calibrates = np.isin(calibrating.activities, ["new 0", "new 2", "new 4", "new 6"])
    named = np.zeros(scored.labels.shape, bool)
    for rows, half in ((first, calibrating.select(~calibrates)), (~first, calibrating.select(calibrates))):
        named[rows] = decided({"val_new": half}).active(scored.scores[rows])
    expected = set_metrics(named, scored.labels, scored.activities)
    of_all = metrics.coverage["test_new"]
    assert of_all.named == expected
    assert of_all.most_frequent == most_frequent_regions(FREQUENCY, scored.labels, scored.activities, expected.recall)
    assert (of_all.num_activities, of_all.num_clips) == (7, 28)
    halves = [metrics.coverage[name] for name in HALVES]
    assert [half.num_activities for half in halves] == [4, 3]
    assert (4 * halves[0].named.recall + 3 * halves[1].named.recall) / 7 == pytest.approx(expected.recall)


def test_what_a_half_is_scored_by_has_not_seen_its_activities(predictions):
    before = assess(decided(predictions), predictions, FREQUENCY)
    decisions = decided(predictions)
    first = np.isin(predictions["val_new"].activities, ["new 0", "new 2", "new 4", "new 6"])
    predictions["val_new"].scores[first] += 100
    after = assess(decisions, predictions, FREQUENCY)
    assert after.coverage[HALVES[0]] == before.coverage[HALVES[0]]
    assert after.coverage[HALVES[1]] != before.coverage[HALVES[1]]


def test_known_activities_are_scored_by_the_decisions_of_the_run(predictions):
    decisions = decided(predictions)
    of_known = assess(decisions, predictions, FREQUENCY).coverage["test_known"]
    scored = predictions["test_known"]
    assert of_known.named == set_metrics(decisions.active(scored.scores), scored.labels, scored.activities)
    assert of_known.all_regions.mean_regions == pytest.approx(3)


def test_decisions_of_known_activities_are_not_scored_on_their_own_clips(predictions):
    decisions = decided(predictions, "val_known")
    metrics = assess(decisions, predictions, FREQUENCY)
    assert list(metrics.coverage) == ["test_known", "test_new"]
    assert list(metrics.calibration_error) == ["val_new", "test_known", "test_new"]
    scored = predictions["test_new"]
    expected = set_metrics(decisions.active(scored.scores), scored.labels, scored.activities)
    assert metrics.coverage["test_new"].named == expected


def test_one_new_activity_cannot_be_halved(predictions):
    one = {
        split: of_split.select(np.array(of_split.activities) == "new 3") if split.endswith("new") else of_split
        for split, of_split in predictions.items()
    }
    metrics = assess(decided(one), one, FREQUENCY)
    assert list(metrics.coverage) == ["test_known"]
    assert list(metrics.calibration_error) == ["val_known", "test_known"]
    assert metrics.guaranteed_recall == 0.8 / 2
