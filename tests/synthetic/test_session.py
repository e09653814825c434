"""Training sessions with the truth beside them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from musclemap_jax.synthetic.activities.table import ACTIVITIES, select
from musclemap_jax.synthetic.drawing import ClipRenderer
from musclemap_jax.synthetic.generate import render_clip
from musclemap_jax.synthetic.mixtures import MIXTURES
from musclemap_jax.synthetic.scene import clip_rng, sample_scene
from musclemap_jax.synthetic.self_occlusion import visible_joints
from musclemap_jax.synthetic.session import sample_hold_session, sample_session
from musclemap_jax.taxonomy import MUSCLE_REGIONS

(SQUAT,) = select(("bodyweight squat",))


def test_clips_of_data_sets_are_as_before_there_were_sessions():
    joints, skeleton = hashlib.sha256(), render_clip("push-up", 0, "a", 5, 64, 15.0)[1]
    # Rounded, since the last bits of sines differ between processors.
    joints.update(np.round(skeleton, 3).tobytes())
    assert joints.hexdigest()[:16] == "1e80b49af475b30a"


@pytest.mark.parametrize("activity", ["bodyweight squat", "high knees", "push-up"])
def test_a_session_is_as_long_and_has_as_many_repetitions_as_stated(activity):
    (activity,) = select((activity,))
    for index in range(3):
        session = sample_session(activity, 0, f"length_{index}")
        times = session.timeline.repetitions
        assert 30 <= session.timeline.num_frames / 15 <= 100
        assert 4 <= len(times) <= 25
        assert (times[1:, 0] >= times[:-1, 1] - 1e-9).all()
        assert session.skeleton.shape == (session.timeline.num_frames, 1, 17, 3)
        # The phase goes once around in each repetition, and is a whole number between them.
        phase = np.interp(times, session.timeline.times_s, session.timeline.phase)
        np.testing.assert_allclose(np.diff(phase)[:, 0], 1, atol=0.1)


def test_equal_arguments_give_equal_sessions_and_other_names_other_ones():
    first, second = (sample_session(SQUAT, 3, "same") for _ in range(2))
    np.testing.assert_array_equal(first.skeleton, second.skeleton)
    other = sample_session(SQUAT, 3, "other")
    assert other.skeleton.shape != first.skeleton.shape or not np.array_equal(other.skeleton, first.skeleton)


def test_a_false_start_turns_back_before_half_of_the_way():
    sessions = [sample_session(SQUAT, 0, f"false_{index}") for index in range(4)]
    session = next(each for each in sessions if each.timeline.false_start)
    start, end = session.timeline.false_start
    times = session.timeline.times_s
    hip = session.scene.body.points["pelvis"][:, 2]

    def depth(first, last):
        return hip[(times >= first) & (times <= last)].min()

    standing, deepest = hip[0], min(depth(*each) for each in session.timeline.repetitions)
    assert 0.1 < (standing - depth(start, end)) / (standing - deepest) < 0.6


def test_only_repetitions_done_wrong_move_what_is_mixed_in():
    mixture = next(each for each in MIXTURES if each.base == "bodyweight squat" and each.other == "overhead press")
    session = sample_session(mixture.activity, 1, "half", mixture=mixture, wrong_from=0.5)
    times, above = session.timeline.times_s, session.scene.body.points["hand_l"] - session.scene.body.points["neck"]
    highest = np.array([above[(times >= s) & (times < e), 2].max() for s, e in session.timeline.repetitions])
    inner = highest[1:-1]  # programs turn into one another at the edges
    wrong = session.wrong[1:-1]
    assert 0 < wrong.sum() < len(wrong)
    assert inner[wrong].min() > 0.3 > inner[~wrong].max()


def test_mixtures_know_what_they_add_and_what_is_missing():
    assert len(MIXTURES) >= 12
    names = {(each.base, each.other): each for each in MIXTURES}
    authors = names["sit-up", "calf raise"]
    assert [MUSCLE_REGIONS[k] for k in authors.unexpected] == ["calves", "feet ankles"]
    assert authors.missing == ()
    jack = names["jumping jack", "calf raise"]
    assert [MUSCLE_REGIONS[k] for k in jack.missing] == ["shoulder"]
    assert all(each.unexpected or each.missing for each in MIXTURES)


@pytest.mark.parametrize("name", ["forearm plank", "bodyweight squat"])
def test_a_hold_keeps_its_pose(name):
    (activity,) = select((name,))
    session = sample_hold_session(activity, 2, "held")
    times, place = session.timeline.times_s, session.scene.body.points["pelvis"]
    assert session.timeline.num_frames / 15 >= 30
    for start, end in session.timeline.holds:
        inside = (times > start + 0.4) & (times < end - 0.4)
        assert np.ptp(place[inside], axis=0).max() < 0.03 < np.ptp(place, axis=0).max()


def test_hidden_joints_are_those_that_drawing_hides():
    agreements = []
    for activity in ACTIVITIES[::18]:
        scene = sample_scene(activity, 0, "hidden", 3, 64, 15.0)
        renderer = ClipRenderer(scene, 64, clip_rng(0, "hidden", "drawing"))
        for _ in renderer.frames():
            pass
        agreements.append((visible_joints(scene, 64, np.random.default_rng(0)) == renderer.visible[:, 0]).mean())
    assert np.mean(agreements) > 0.85
