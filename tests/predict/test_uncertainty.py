"""What a prediction is not sure of."""

import numpy as np

from musclemap_jax.predict.uncertainty import doubts
from tests.predict.handmade import prediction

REGIONS = ("chest", "back")
NAN = np.nan


def plain(sentences):
    return [sentence.replace("\u00a0", " ") for sentence in sentences]


def test_a_sure_prediction_raises_no_doubt():
    assert doubts(prediction([[0.9, 0.1]] * 3, REGIONS), np.array([0.5, 0.5])) == []


def test_warnings_come_first():
    found = doubts(prediction([[0.9, 0.9], [0.9, 0.1]], REGIONS, warnings=("Nobody was seen.",)))
    assert found[0] == "Nobody was seen."
    assert len(found) == 2
    assert doubts(prediction([[NAN, NAN]], REGIONS, warnings=("Nobody was seen.",))) == ["Nobody was seen."]


def test_decisions_near_their_threshold_are_named_nearest_first():
    found = doubts(prediction([[0.55, 0.28]], REGIONS), np.array([0.5, 0.3]))
    assert plain(found) == ["Close to their threshold: back (28 %, threshold 30 %), chest (55 %, threshold 50 %)."]


def test_regions_that_change_are_named():
    found = doubts(prediction([[0.9, 0.9], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], REGIONS))
    assert plain(found) == ["On in some windows and off in others: back (active in 25 % of the windows)."]


def test_branches_that_disagree_are_named():
    branches = {"video": np.array([[0.2, 0.9], [0.4, NAN]]), "skeleton": np.array([[0.8, 0.8], [0.8, 0.8]])}
    found = doubts(prediction([[0.9, 0.9]] * 2, REGIONS, branch_probabilities=branches))
    # The second window does not count: one branch did not speak.
    assert plain(found) == ["The branches of the model disagree on chest (video 20 %, skeleton 80 %)."]


def test_low_thresholds_are_compared_by_odds():
    assert doubts(prediction([[0.02, 0.2]], REGIONS), np.array([0.1, 0.1])) == []
    found = doubts(prediction([[0.08, 0.12]], REGIONS), np.array([0.1, 0.1]))
    assert plain(found) == ["Close to their threshold: back (12 %, threshold 10 %), chest (8 %, threshold 10 %)."]


def test_long_lists_end_in_a_count():
    windows = np.full((2, 20), 0.9)
    windows[1] = 0.1
    (sentence,) = plain(doubts(prediction(windows)))
    assert sentence.endswith("biceps (active in 50 % of the windows) and 16 more.")
