"""Sets with a stated recall: thresholds by hand, and simulations of the guarantee over activities."""

import numpy as np
import pytest

from musclemap_jax.eval.conformal import guaranteed_recall, recall_threshold
from musclemap_jax.eval.named_regions import set_metrics

# Two clips of squat, one of plank, and one without an active region.
ACTIVITIES = ["squat", "squat", "plank", "rest"]
SCORES = np.array([[4.0, 1.0, -9.0], [3.0, -9.0, -9.0], [-9.0, 2.0, 0.0], [-20.0, -20.0, -20.0]])
LABELS = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.uint8)


@pytest.mark.parametrize(
    ("recall", "threshold"),
    [
        # Weights of the active regions by score: 0 has 1/4, 1 has 1/8, 2 has 1/4, 3 has 1/4, 4 has 1/8.
        (1.0, 0.0),
        (0.76, 0.0),
        (0.75, 1.0),
        (0.63, 1.0),
        (0.625, 2.0),
        (0.375, 3.0),
        (0.13, 3.0),
        (0.125, 4.0),
        (0.01, 4.0),
    ],
)
def test_thresholds_by_hand(recall, threshold):
    assert recall_threshold(SCORES, LABELS, ACTIVITIES, recall) == threshold
    reached = set_metrics(threshold <= SCORES, LABELS, ACTIVITIES).recall
    assert reached >= recall - 1e-12


def test_equal_scores_are_missed_together():
    scores, labels = np.array([[1.0, 1.0], [1.0, 5.0]]), np.array([[1, 1], [1, 1]])
    # Above 1 there is only a quarter of the active regions.
    assert recall_threshold(scores, labels, ["a", "b"], 0.5) == 1.0
    assert recall_threshold(scores, labels, ["a", "b"], 0.25) == 5.0


def test_an_activity_counts_once_however_many_clips_it_has():
    scores = np.array([[5.0]] * 30 + [[1.0]])
    labels, activities = np.ones((31, 1), int), ["often"] * 30 + ["once"]
    assert recall_threshold(scores, labels, activities, 0.9) == 1.0
    assert recall_threshold(scores, labels, activities, 0.5) == 5.0


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES, 0 * LABELS, "recall is undefined: no clip has an active region"),
        (SCORES * np.nan, LABELS, "scores must not be NaN"),
    ],
)
def test_invalid_input_is_rejected(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        recall_threshold(scores, labels, ACTIVITIES, 0.9)


def test_the_guarantee_meets_the_condition_of_the_theorem():
    # n / (n + 1) * (1 - 0.9) + 1 / (n + 1) for n = 19 is 0.145.
    assert guaranteed_recall(0.9, 19) == pytest.approx(0.855)
    for n in (1, 9, 19, 1000):
        assert 1 - guaranteed_recall(0.9, n) == pytest.approx(n / (n + 1) * 0.1 + 1 / (n + 1))


def simulate(random, num_activities):
    """Activities of 1 to 8 clips whose regions score alike within an activity and differently between activities."""
    counts = random.integers(1, 9, num_activities)
    place = np.repeat(np.arange(num_activities), counts)
    first = random.integers(0, 5, (num_activities, 1))
    labels = ((random.random((num_activities, 5)) < 0.4) | (np.arange(5) == first))[place]
    # How well the model sees a region of an activity, shared by its clips; activities with many clips are easier.
    ability = random.normal(size=(num_activities, 5)) + 0.25 * counts[:, None]
    scores = (1 + ability)[place] * labels + 0.3 * random.normal(size=labels.shape)
    return scores, labels.astype(np.uint8), [f"activity {number}" for number in place]


@pytest.mark.parametrize("num_activities", [5, 19])
def test_the_stated_coverage_holds_for_a_further_activity(num_activities):
    random = np.random.default_rng(0)
    recalls = []
    for _ in range(1500):
        scores, labels, activities = simulate(random, num_activities + 1)
        further = np.array(activities) == activities[-1]
        calibrating = [name for name in activities if name != activities[-1]]
        threshold = recall_threshold(scores[~further], labels[~further], calibrating, 0.8)
        recalls.append(set_metrics(scores[further] >= threshold, labels[further], ["further"] * further.sum()).recall)
    error = np.std(recalls) / np.sqrt(len(recalls))
    assert np.mean(recalls) >= guaranteed_recall(0.8, num_activities) - 2 * error
    # It is no stricter than it has to be: the recall is the stated one, up to the jump of one activity.
    assert abs(np.mean(recalls) - 0.8) <= 0.8 / (num_activities + 1) + 2 * error


def test_clips_as_units_would_miss_the_stated_coverage():
    # Most clips are of easy activities.
    random = np.random.default_rng(1)
    recalls = {"clips": [], "activities": []}
    for _ in range(400):
        scores, labels, activities = simulate(random, 20)
        further = np.array(activities) == activities[-1]
        own = np.array(activities)[~further].tolist()
        for unit, names in (("activities", own), ("clips", [str(number) for number in range(len(own))])):
            threshold = recall_threshold(scores[~further], labels[~further], names, 0.8)
            sets = scores[further] >= threshold
            recalls[unit].append(set_metrics(sets, labels[further], ["further"] * further.sum()).recall)
    assert abs(np.mean(recalls["activities"]) - 0.8) < 0.03
    assert np.mean(recalls["clips"]) < 0.76
