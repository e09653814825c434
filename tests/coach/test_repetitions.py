"""Repetitions and holds: curves made by hand, and rendered sessions whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.holds import still_stretches
from musclemap_jax.coach.movement import RATE, Movement, movement
from musclemap_jax.coach.repetitions import repetition_times
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import select
from musclemap_jax.synthetic.session import sample_hold_session, sample_session

JOINTS = get_layout("coco17").joints


def curve(*parts, noise=0.3):
    """A curve (S, 2) of (seconds, height) parts: a bump of that height and back, which leans on the way back."""
    rng = np.random.default_rng(0)
    pieces = []
    for seconds, height in parts:
        phase = np.arange(round(seconds * RATE)) / (seconds * RATE)
        bump = height * (1 - np.cos(2 * np.pi * phase)) / 2
        pieces.append(np.stack([bump, bump * np.sin(2 * np.pi * phase)], axis=1))
    whole = np.concatenate(pieces)
    return whole + rng.normal(0, noise, whole.shape)


REST, REPETITION, FALSE_START = (2.0, 0.0), (2.0, 20.0), (1.4, 8.0)


@pytest.mark.parametrize(
    ("parts", "starts"),
    [
        ([REST, *[REPETITION] * 5, REST], [2, 4, 6, 8, 10]),
        ([*[REPETITION] * 3, REST, REST, *[REPETITION] * 2], [0, 2, 4, 10, 12]),
        ([REST, FALSE_START, REST, *[REPETITION] * 4, REST], [5.4, 7.4, 9.4, 11.4]),
        ([REST, (1.6, 20.0), (1.8, 20.0), (2.0, 20.0), (2.2, 20.0), (2.4, 20.0)], [2, 3.6, 5.4, 7.4, 9.6]),
    ],
    ids=["plain", "pause", "false start", "drift of tempo"],
)
def test_repetitions_are_found_where_they_are(parts, starts):
    found = repetition_times(curve(*parts))
    assert len(found) == len(starts)
    np.testing.assert_allclose(found[:, 0], starts, atol=0.35)


def test_a_repetition_lasts_until_the_next_one_but_not_over_a_pause():
    found = repetition_times(curve(*[REPETITION] * 3, (3.0, 0.0), *[REPETITION] * 2))
    assert found[0, 1] == found[1, 0]
    assert found[1, 1] == found[2, 0]
    assert found[3, 0] - found[2, 1] > 2


def test_two_exercises_in_one_video_are_both_counted():
    other = curve(*[(1.2, 12.0)] * 6)[:, ::-1] * [-1, 1]
    both = np.concatenate([curve(*[REPETITION] * 5), curve(REST), other])
    assert len(repetition_times(both)) == 11


@pytest.mark.parametrize("samples", [0, 1, 5, 300])
def test_noise_has_no_repetitions(samples):
    noise = np.random.default_rng(1).normal(0, 0.5, (samples, 4))
    assert repetition_times(noise).shape == (0, 2)


@pytest.mark.parametrize(
    "name", ["bodyweight squat", "high knees", "thruster", "wrist curl", "sit-up", "mountain climber"]
)
def test_repetitions_of_rendered_sessions_are_counted(name):
    (activity,) = select((name,))
    session = sample_session(activity, 5, name)
    true = session.timeline.repetitions
    found, holds = repetitions_and_holds(movement(session.skeleton[:, 0], JOINTS, 15.0))
    assert abs(len(found) - len(true)) <= 1
    assert abs(np.median(np.diff(found)) - np.median(np.diff(true))) < 0.3
    assert len(holds) == 0


@pytest.mark.parametrize("name", ["forearm plank", "glute bridge", "side plank hip lift"])
def test_holds_of_rendered_sessions_are_right_within_a_second(name):
    (activity,) = select((name,))
    session = sample_hold_session(activity, 5, name)
    repetitions, holds = repetitions_and_holds(movement(session.skeleton[:, 0], JOINTS, 15.0))
    assert len(repetitions) == 0
    assert holds.shape == session.timeline.holds.shape
    np.testing.assert_allclose(np.diff(holds), np.diff(session.timeline.holds), atol=1.0)


def test_holds_are_told_apart_by_hips_that_sink_between_them_and_an_error_of_a_moment_is_no_end():
    times = np.arange(round(40 * RATE)) / RATE
    lifted = np.interp(times, [2, 3, 15, 16, 18, 19, 35, 36], [0, 1, 1, 0, 0, 1, 1, 0])
    lifted[(times > 25) & (times < 25.5)] = 0  # the estimator loses the hips
    pose = np.random.default_rng(0).normal(0, 0.005, (len(times), 13, 2)) + np.arange(13)[:, None] / 13
    pose[:, 7:9, 1] -= 0.1 * lifted[:, None]
    names = tuple(f"joint_{v}" for v in range(13))
    moved = Movement(np.zeros((len(times), 1)), pose, np.zeros((len(times), 2)), names, np.ones(len(times), bool), 0.01)
    np.testing.assert_allclose(np.array(still_stretches(moved)) / RATE, [[3, 15], [19, 35]], atol=0.3)


def test_frame_rate_size_and_place_change_nothing():
    (activity,) = select(("bodyweight squat",))
    joints = sample_session(activity, 5, "rate").skeleton[:, 0]
    plain = repetitions_and_holds(movement(joints, JOINTS, 15.0))[0]
    moved = joints * [7.0, 7.0, 1.0] + np.array([300.0, 40.0, 0.0]) * (joints[..., 2:] > 0)
    np.testing.assert_allclose(repetitions_and_holds(movement(moved, JOINTS, 15.0))[0], plain, atol=0.15)
    doubled = np.repeat(joints, 2, axis=0)
    assert len(repetitions_and_holds(movement(doubled, JOINTS, 30.0))[0]) == len(plain)


def test_standing_at_ease_is_no_hold():
    pose = {
        "nose": (0, -0.2), "shoulder": (0.1, 0), "elbow": (0.12, 0.25), "wrist": (0.12, 0.5), "hip": (0.07, 0.5),
        "knee": (0.07, 0.95), "ankle": (0.07, 1.4),
    }  # fmt: skip
    joints = np.zeros((200, len(JOINTS), 3))
    for place, name in enumerate(JOINTS):
        x, y = pose.get(name.split("_")[-1], (0, -0.2))
        joints[:, place] = (-x if name.startswith("right") else x, y, 1)
    joints[..., :2] += np.random.default_rng(0).normal(0, 0.005, (200, len(JOINTS), 2))
    repetitions, holds = repetitions_and_holds(movement(joints, JOINTS, 15.0))
    assert len(repetitions) == len(holds) == 0
    joints[:, [JOINTS.index("left_knee"), JOINTS.index("right_knee")], 0] += 0.45  # a wall sit
    joints[:, [JOINTS.index("left_ankle"), JOINTS.index("right_ankle")], 0] += 0.45
    _, holds = repetitions_and_holds(movement(joints, JOINTS, 15.0))
    np.testing.assert_allclose(holds, [[0, 200 / 15]], atol=0.3)


@pytest.mark.parametrize("num_frames", [2, 3, 10, 20, 41])
def test_a_video_of_a_moment_has_no_repetitions_and_no_holds(num_frames):
    joints = np.random.default_rng(0).normal(0, 1, (num_frames, len(JOINTS), 3))
    joints[..., 2] = 1
    moved = movement(joints, JOINTS, 30.0)
    assert len(moved.seen) == len(moved.curve)
    assert [len(times) for times in repetitions_and_holds(moved)] == [0, 0]


@pytest.mark.parametrize("score", [0.0, 0.2])
def test_a_person_who_is_not_seen_does_not_move(score):
    joints = np.random.default_rng(0).normal(0, 1, (50, len(JOINTS), 3))
    joints[..., 2] = score
    assert movement(joints, JOINTS, 15.0) is None


def test_sides_that_are_taken_for_each_other_are_put_right():
    (activity,) = select(("lateral raise",))
    joints = sample_session(activity, 5, "sides").skeleton[:, 0]
    exchanged = joints.copy()
    for start in range(20, len(joints) - 10, 60):
        exchanged[start : start + 3] = joints[start : start + 3][:, list(get_layout("coco17").flip)]
    first, second = (movement(each, JOINTS, 15.0) for each in (joints, exchanged))
    assert (np.abs(second.pose - first.pose) < 0.12).mean() > 0.99
