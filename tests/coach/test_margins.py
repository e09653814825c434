"""Conformal margins and the alerts beyond them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from musclemap_jax.coach.alerts import (
    excess_motion,
    excess_over_expected,
    excess_over_reference,
    find_alerts,
    motion_limits,
)
from musclemap_jax.coach.coaching import MISSING, MOVING, UNEXPECTED, Alert, Coaching, Hold, Repetition
from musclemap_jax.coach.margins import (
    AlertMargins,
    ExerciseMargins,
    RightSession,
    calibrate_margins,
    conformal_quantile,
    loosest,
)
from musclemap_jax.coach.motion import MOTIONS, motion_ranges
from musclemap_jax.coach.movement import RATE, Movement
from musclemap_jax.coach.profiles import log_odds, repetition_scores
from musclemap_jax.coach.runs import run_maximum, runs
from musclemap_jax.errors import UserError

REGIONS = ("chest", "biceps", "quadriceps")


NUM_MOTIONS = len(MOTIONS)
GENERAL = ExerciseMargins((1.0, 2.0, math.inf), (-1.0, -2.0, -3.0), (math.inf,) * NUM_MOTIONS)
SQUAT = ExerciseMargins((0.5, 1.5, math.inf), (-math.inf, -math.inf, -2.5), (40.0, 30.0, math.inf, math.inf, 50.0, 9.0))


def margins(**changes):
    fields = {
        "regions": REGIONS, "branch": "skeleton", "general": GENERAL, "exercises": {"squat": SQUAT},
        "difference": (2.0, 2.0, 2.0),
        "motion": (30.0, 30.0, 30.0, math.inf, 30.0, 8.0), "alpha": 0.01, "num_sessions": 200, "made_on": "sessions",
        "weights": "abc",
    }  # fmt: skip
    return AlertMargins(**(fields | changes))


def test_the_quantile_is_the_conformal_one():
    values = np.array([4.0, 1.0, 3.0, 2.0])
    assert conformal_quantile(values, 0.2) == 4.0  # ceil(5 * 0.8) = 4th
    assert conformal_quantile(values, 0.4) == 3.0
    assert conformal_quantile(values, 0.19) == math.inf  # 5 * 0.81 > 4


def test_at_most_alpha_of_further_sessions_raise_an_alert():
    rng = np.random.default_rng(0)

    def session(index):
        expected = np.arange(6) < 1 + index % 3
        quirk = rng.normal(0, [0.2, 0.5, 1, 2, 3, 0.1])  # some regions are harder than others
        scores = np.where(expected, 4, -4) + quirk + rng.normal(0, 0.5, (5, 6))
        return RightSession(f"a{index // 8}", expected, scores, rng.uniform(0, 20, (5, NUM_MOTIONS)))

    alpha, false = 0.1, 0
    found = calibrate_margins(
        [session(i) for i in range(400)], list("abcdef"), alpha=alpha, branch="", made_on="", weights=""
    )
    for index in range(1000):
        right = session(index)
        excess = excess_over_expected(right.scores, right.expected, found.general)
        kinds = {a.kind for a in find_alerts(excess, list("abcdef"), right.scores, np.zeros((5, 2)), 30.0)}
        false += UNEXPECTED in kinds
    assert 0.03 < false / 1000 < 0.15
    assert max(found.general.lower) <= 0 <= min(found.general.upper)


def test_a_region_that_is_never_unexpected_in_calibration_raises_no_alert():
    scores = np.array([[3.0, -3.0], [3.0, -3.0]])
    sessions = [
        RightSession("squat", np.array([True, False]), scores + index / 10, np.zeros((2, NUM_MOTIONS)))
        for index in range(60)
    ]
    found = calibrate_margins(sessions, ["a", "b"], alpha=0.1, branch="", made_on="", weights="")
    for each in (found.general, found.of("squat")):
        assert each.upper[0] == math.inf
        assert math.isfinite(each.upper[1])
        assert each.lower[1] == -math.inf
        assert math.isfinite(each.lower[0])


def test_an_exercise_has_margins_of_its_own():
    """A model that always takes an exercise for another one raises no alert in it, and misses none in others."""
    rng = np.random.default_rng(0)
    usual = {"squat": [4.0, -5, -5, -5], "lunge": [4.0, 3, -5, -5]}  # the second region is active in neither
    motion = rng.uniform(0, 9, (5, NUM_MOTIONS))
    sessions = [
        RightSession(name, np.arange(4) == 0, np.array(scores) + rng.normal(0, 0.3, (5, 4)), motion)
        for name, scores in usual.items()
        for _ in range(100)
    ]
    found = calibrate_margins(sessions, list("abcd"), alpha=0.05, branch="", made_on="", weights="")
    assert found.of("squat").upper[1] < 3 < found.of("lunge").upper[1]
    assert found.general.upper[1] > 3
    assert found.of("a new exercise") == found.general
    assert np.isfinite(found.of("squat").motion).all()


def test_what_an_exercise_lacks_is_taken_from_all_together():
    assert margins().of("squat") == ExerciseMargins((0.5, 1.5, math.inf), (-1.0, -2.0, -2.5), SQUAT.motion)


def test_the_loosest_margins_contain_all():
    wide = ExerciseMargins((2.0, 0.0, 1.0), (-1.0, -3.0, -4.0), (0.0,) * NUM_MOTIONS)
    assert loosest([SQUAT, wide]) == ExerciseMargins((2.0, 1.5, math.inf), (-math.inf, -math.inf, -4.0), SQUAT.motion)


def test_margins_are_read_as_they_were_written():
    text = margins().to_json()
    assert json.loads(text)["general"]["upper"] == [1.0, 2.0, None]
    assert json.loads(text)["exercises"]["squat"]["lower"] == [None, None, -2.5]
    assert AlertMargins.from_json(text, "alerts.json") == margins()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "alerts.json: no alert margins, or damaged: JSONDecodeError"),
        ('{"format": 1}', "alerts.json: expected format 3, got 1: calibrate again, with python -m"),
        ('{"format": 3, "motion": [1]}', "alerts.json: no alert margins, or damaged: KeyError('general')"),
        (
            margins().to_json().replace("[0.5, 1.5, null]", "[0.5]"),
            "alerts.json: expected a margin of each kind for each region: calibrate again",
        ),
    ],
)
def test_other_files_are_refused(text, message):
    with pytest.raises(UserError) as error:
        AlertMargins.from_json(text, "alerts.json")
    assert str(error.value).startswith(message)


def test_an_alert_stands_on_two_neighbouring_repetitions():
    times = np.array([[0, 2], [2, 4], [4, 6], [6, 8.0]])
    scores = np.array([[5, -5, 5], [-5, 5, 5], [-5, 5, -5], [-5, 5, -5.0]])
    expected = np.array([False, False, True])
    excess = excess_over_expected(scores, expected, GENERAL)
    alerts = find_alerts(excess, REGIONS, np.full((4, 3), 0.5), times, 10.0)
    # The chest exceeds its margin in one repetition alone.
    assert alerts == (
        Alert(UNEXPECTED, "biceps", (2, 4), 2.0, 8.0, (20, 79), 0.5, 3.0),
        Alert(MISSING, "quadriceps", (3, 4), 4.0, 8.0, (40, 79), 0.5, 2.0),
    )
    assert alerts[0].sentence == "biceps: active, but not expected, in repetitions 2 to 4 (2.0-8.0 s)"


def test_a_single_hold_raises_an_alert_and_repetitions_without_an_answer_do_not():
    times = np.array([[0, 20.0]])
    excess = excess_over_expected(np.array([[5.0, -5, 5]]), np.array([False, False, True]), GENERAL)
    (alert,) = find_alerts(excess, REGIONS, np.ones((1, 3)), times, 30.0, "hold")
    assert alert.sentence == "chest: active, but not expected, in hold 1 (0.0-20.0 s)"
    unanswered = np.full((1, 3), np.nan)
    excess = excess_over_expected(unanswered, np.array([False, False, True]), GENERAL)
    assert find_alerts(excess, REGIONS, unanswered, times, 30.0) == ()


def test_a_reference_is_compared_by_difference():
    excess = excess_over_reference(np.array([[3.0, 0, -4]]), np.array([0.0, 0, 0]), margins())
    np.testing.assert_array_equal(excess[UNEXPECTED], [[1, -2, -6]])
    np.testing.assert_array_equal(excess[MISSING], [[-5, -2, 2]])


def test_joints_that_move_more_than_expected_raise_an_alert():
    limits = motion_limits(np.array([10.0, 10, 80, 0, 0, 2]), margins())
    assert limits == (40.0, 40.0, math.inf, math.inf, 30.0, 10.0)  # the hips move in the reference
    excess = excess_motion(np.array([[50.0, 20, 99, 99, 0, np.nan]] * 2), limits)  # the ankles are not seen
    (alert,) = find_alerts(excess, MOTIONS, np.zeros((2, NUM_MOTIONS)), np.array([[0, 2], [2, 4.0]]), 30.0)
    assert alert == Alert(MOVING, "elbows", (1, 2), 0.0, 4.0, (0, 119), 0.0, 10.0)
    assert alert.sentence == "elbows: move more than expected, in repetitions 1 to 2 (0.0-4.0 s)"


def test_joints_have_a_margin_where_they_rest_and_the_ankles_one_of_their_own():
    rng = np.random.default_rng(0)
    usual = np.array([100, 5, 100, 5, 50, 3]) + np.zeros((60, 5, 1))
    usual[0, :, 3] = np.nan  # the knees are not seen in one session
    usual[9, :, 1] += 60  # in one, the shoulders look as if they moved
    sessions = [
        RightSession("jack", np.ones(1, bool), np.full((5, 1), 3.0), each)
        for each in usual + rng.normal(0, 1, usual.shape)
    ]
    found = calibrate_margins(sessions, ["a"], alpha=0.05, branch="", made_on="", weights="").of("jack")
    assert np.isinf(found.motion).tolist() == [True, False, True, False, True, False]
    assert found.motion[1] > 60
    assert found.motion[3] > 60  # one margin for all joints, in units of their spread
    assert 3 < found.motion[5] < 9


def test_ranges_of_angles_are_those_of_the_joints():
    phase = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    names = ("left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "right_knee")
    flexion = np.pi / 4 * (1 - np.cos(phase))  # the elbow bends by 90 degrees
    pose = np.zeros((60, 6, 2))
    pose[:, 1] = (0, 1)
    pose[:, 2] = np.stack([np.sin(flexion), 1 + np.cos(flexion)], axis=1)
    pose[:, 3:5] = [(0.2, 2), (0.2, 3)]
    moved = Movement(np.zeros((60, 1)), pose, np.zeros((60, 2)), names, np.ones(60, bool), 0.0)
    ranges = motion_ranges(moved, np.array([[0.0, 4.0], [0.0, 0.1]]))
    low, high = np.degrees(np.pi / 4 * (1 - np.cos(np.pi * np.array([0.1, 0.9]))))
    np.testing.assert_allclose(ranges[0], [high - low, 0, 0, np.nan, np.nan, np.nan], atol=2)
    assert ranges[1, 0] < 5
    pose[30:, 2] = pose[30:, 1] + 0.01 * (pose[30:, 2] - pose[30:, 1])  # the forearm points at the camera
    assert np.isnan(motion_ranges(moved, np.array([[0.0, 4.0]]))[0, 0])


def test_ankles_that_rise_are_told_from_a_camera_that_drifts_and_a_body_that_sinks():
    phase = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    sinks, drift = 0.5 * (1 - np.cos(phase)), np.linspace(0, 0.4, 60)
    rises = 0.1 * (1 - np.cos(phase))
    middle = np.stack([np.zeros(60), sinks + drift], axis=1)
    pose = np.zeros((60, 2, 2))
    pose[..., 1] = 1 - sinks[:, None]  # the feet stay where they are
    names = ("left_ankle", "right_ankle")

    def ankles(pose):
        moved = Movement(np.zeros((60, 1)), pose, middle, names, np.ones(60, bool), 0.0)
        return motion_ranges(moved, np.array([[0.0, 4.0]]))[0, MOTIONS.index("ankles")]

    assert ankles(pose) < 1
    pose[:, 0, 1] -= rises
    assert ankles(pose) < 1  # of one foot alone
    pose[:, 1, 1] -= rises
    assert 15 < ankles(pose) < 20


def test_a_camera_that_sways_out_of_time_with_the_repetitions_hardly_moves_the_ankles():
    times = np.arange(600) / RATE
    repetitions = np.stack([np.arange(0, 40, 4.0), np.arange(4, 44, 4.0)], axis=1)
    sway = 0.1 * np.sin(2 * np.pi * times / 3.1)

    def ankles(repetitions):
        middle = np.stack([np.zeros(600), sway], axis=1)
        moved = Movement(
            np.zeros((600, 1)), np.ones((600, 2, 2)), middle, ("left_ankle", "right_ankle"), np.ones(600, bool), 0.0
        )
        return motion_ranges(moved, repetitions)[:, MOTIONS.index("ankles")]

    assert min(ankles(one[None])[0] for one in repetitions) > 12
    assert np.max(ankles(repetitions)[2:-2]) < 8


def test_runs_and_their_maximum_agree():
    scores = np.array([[3.0, 1], [-1, 2], [2, 4], [5, -9]])
    np.testing.assert_array_equal(run_maximum(scores), [2, 2])
    assert runs(scores[:, 0] > 1.9) == [(2, 4)]
    assert runs(scores[:, 0] > 2) == []
    np.testing.assert_array_equal(run_maximum(scores[:1]), [3, 1])
    assert runs(np.array([True])) == [(0, 1)]
    assert runs(np.zeros(0, bool)) == []


def test_windows_count_by_their_overlap():
    scores = np.array([[0.0, 1], [6, 1], [np.nan, np.nan]])
    times = np.array([[0, 2], [1, 3], [10, 12.0]])
    found = repetition_scores(scores, times, np.array([[0, 3], [1.5, 2], [10, 12]]))
    np.testing.assert_allclose(found, [[3, 1], [3, 1], [np.nan, np.nan]])
    assert repetition_scores(scores, times, np.zeros((0, 2))).shape == (0, 2)


def test_log_odds_are_bounded():
    np.testing.assert_allclose(log_odds(np.array([0.5, 0.0, 1.0, np.nan])), [0, -16, 16, np.nan], atol=1e-6)


def test_coaching_survives_json():
    coaching = Coaching(
        repetitions=(Repetition(0.0, 2.5, (0.25,), (True,)), Repetition(2.5, 4.0)),
        holds=(Hold(5.0, 15.0),),
        expected="squat: quadriceps",
        alerts=(Alert(MISSING, "chest", (1, 2), 0.0, 4.0, (0, 119), 0.25, 1.5),),
        notes=("A note.",),
    )
    assert Coaching.from_json(json.loads(json.dumps(coaching.to_json()))) == coaching
    assert (coaching.repetitions[0].tempo_s, coaching.holds[0].duration_s) == (2.5, 10.0)
