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
    assert doubts(prediction([[NAN, NAN]], REGIONS, warnings=("Nobody was seen.",))) == [
        "Nobody was seen.",
        "No answer for the only window (0:00 to 0:01): no branch of the model could speak.",
    ]


def test_times_without_an_answer_are_joined():
    windows = [[0.9, 0.1]] * 2 + [[NAN, NAN]] * 2 + [[0.9, 0.1]] + [[NAN, NAN]]
    assert doubts(prediction(windows, REGIONS)) == [
        "No answer for 3 of 6 windows (0:02 to 0:04, 0:05 to 0:06): no branch of the model could speak."
    ]


def test_windows_that_rest_on_less_are_named():
    modalities = (("video", "skeleton"), ("video",), ("video",), ("video", "skeleton"))
    assert doubts(prediction([[0.9, 0.1]] * 4, REGIONS, modalities=modalities)) == [
        "The answer for 2 of 4 windows (0:01 to 0:03) rests on video alone."
    ]


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


def test_long_lists_end_in_a_count():
    windows = np.full((12, 2), 0.9)
    windows[1::2] = NAN
    (sentence,) = doubts(prediction(windows, REGIONS))
    assert "0:07 to 0:08 and 2 more" in sentence
