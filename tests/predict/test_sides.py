"""Which side moved more: by hand, on rendered people whose program has a side, and on the real clips."""

import numpy as np
import pytest

from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.predict.sides import (
    FAINT,
    leading_side,
    limb_motion,
    side_sentences,
    side_strengths,
)
from musclemap_jax.skeleton_layouts import LAYOUTS, convert, get_layout
from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.activities.table import select
from musclemap_jax.synthetic.drawing import joint_positions
from musclemap_jax.synthetic.scene import clip_rng, sample_scene
from musclemap_jax.synthetic.skeleton_noise import corrupt, sample_corruption
from musclemap_jax.synthetic.tracks import part
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.conftest import ROOT

COCO17 = get_layout("coco17").joints
FPS = 15.0
NAN = np.nan
BOTH = {"arms": None, "legs": None}

CURL = Activity("curl", ("elbow flexion",), parts.CURL | part(arm_raise_r=4.0, elbow_r=12.0), view="front")
(DONKEY_KICK,) = select(("donkey kick",))
PRESS = Activity("press", ("overhead press",), parts.PRESS_OVERHEAD | part(hand_r=(0.12, 0.18, 0.10)))


def person(frames=41, trunk=100.0, **paths):
    """(L, 1, 17, 3): a person who stands still; `left_wrist=(x, y)` moves a joint there and back once, in trunks."""
    places = {"shoulder": (20, 0), "elbow": (25, 50), "wrist": (25, 90), "hip": (15, 100), "knee": (15, 180)}
    places |= {"ankle": (15, 260), "eye": (3, -25), "ear": (6, -25)}
    skeleton = np.ones((frames, 1, 17, 3), np.float32)
    for v, name in enumerate(COCO17):
        side, _, joint = name.rpartition("_")
        x, y = places.get(joint, (0, -22))
        skeleton[:, 0, v, :2] = np.array([x if side == "left" else -x, y]) * trunk / 100
        if name in paths:
            there = 1 - np.abs(np.linspace(-1, 1, frames))
            skeleton[:, 0, v, :2] += there[:, None] * np.array(paths[name]) * trunk
    return skeleton


def rendered(activity, seed):
    """Joints of a rendered person as a pose estimator would find them, every joint in sight; and the body itself."""
    scene = sample_scene(activity, seed, "clip", 48, 128, FPS)
    joints, rng = joint_positions(scene, scene.body), clip_rng(seed, "clip", "skeleton")
    found = corrupt(joints, np.ones(joints.shape[:2], bool), sample_corruption(rng), rng)
    return found[:, None].astype(np.float32), scene.body


def side_in_space(body, limb):
    """The side whose hand or foot moved further in three dimensions; every second person is mirrored."""
    root, end = {"arms": ("shoulder", "wrist"), "legs": ("hip", "ankle")}[limb]
    left, right = (np.ptp(body.points[f"{end}_{s}"] - body.points[f"{root}_{s}"], axis=0).max() for s in "lr")
    return "left" if left > right else "right"


def test_motion_is_the_range_of_a_joint_in_trunk_lengths():
    """There and back in equal steps: the 10th to 90th percentile is 0.8 of the way, here of 3-4-5 times 0.2."""
    for trunk in (100.0, 7.0):
        motion = limb_motion(person(trunk=trunk, left_wrist=(0.6, 0.8)), COCO17, FPS)
        np.testing.assert_allclose(motion, [[0.8, 0], [0, 0]], atol=0.02)
        assert motion.dtype == np.float32


def test_the_joint_that_moved_most_counts_and_the_trunk_does_not():
    moved = person(right_ankle=(1.0, 0), right_knee=(0.5, 0))
    moved[:, :, :, 0] += np.linspace(0, 500, 41)[:, None, None]  # the whole person walks
    np.testing.assert_allclose(limb_motion(moved, COCO17, FPS), [[0, 0], [0, 0.8]], atol=0.02)


def test_a_joint_that_is_elsewhere_for_some_frames_has_not_moved():
    skeleton = person()
    skeleton[20:22, 0, COCO17.index("left_wrist"), :2] += 300
    np.testing.assert_allclose(limb_motion(skeleton, COCO17, FPS), 0, atol=1e-6)


def test_joints_count_where_both_sides_are_seen():
    """A hidden arm says nothing about the other one; of a hidden hand, the elbows remain."""
    skeleton = person(left_wrist=(1.0, 0), left_elbow=(0.5, 0), right_knee=(1.0, 0))
    skeleton[10:, 0, COCO17.index("right_wrist"), 2] = 0.29
    np.testing.assert_allclose(limb_motion(skeleton, COCO17, FPS), [[0.4, 0], [0, 0.8]], atol=0.02)
    skeleton[10:, 0, COCO17.index("right_elbow"), 2] = 0
    np.testing.assert_allclose(limb_motion(skeleton, COCO17, FPS), [[NAN, NAN], [0, 0.8]], atol=0.02)
    skeleton[:, 0, COCO17.index("left_hip"), 2] = 0  # no trunk, no unit
    assert np.isnan(limb_motion(skeleton, COCO17, FPS)).all()


def test_of_several_persons_the_one_who_moved_most_counts():
    several = np.concatenate([person(), person(left_wrist=(1.0, 0)), np.zeros((41, 1, 17, 3), np.float32)], axis=1)
    np.testing.assert_allclose(limb_motion(several, COCO17, FPS), [[0.8, 0], [0, 0]], atol=0.02)
    assert np.isnan(limb_motion(several[:, :0], COCO17, FPS)).all()
    assert np.isnan(limb_motion(several[:, 2:], COCO17, FPS)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_joints(layout):
    skeleton = convert(person(left_wrist=(1.0, 0)), "coco17", layout)
    expected = limb_motion(person(left_wrist=(1.0, 0)), COCO17, FPS)
    np.testing.assert_allclose(limb_motion(skeleton, get_layout(layout).joints, FPS), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        ([0.8, 0.4], "left"),  # exactly twice as far, as the page says
        ([0.41, 0.8], None),
        ([0.1, 0.4], "right"),  # exactly the floor
        ([0.39, 0.0], None),
        ([0.0, 0.0], None),
        ([NAN, NAN], None),
    ],
)
def test_a_side_leads_from_the_ratio_and_the_floor_on(motion, expected):
    assert leading_side(np.array([motion, [0, 0]], np.float32)) == BOTH | {"arms": expected}
    assert leading_side(np.array([[0, 0], motion], np.float32)) == BOTH | {"legs": expected}


def test_the_other_side_of_the_limbs_regions_is_faint_and_nothing_else():
    motion = np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.8], [NAN, NAN]]], np.float32)
    strengths = side_strengths(MUSCLE_REGIONS, motion)
    of_first = {name: tuple(row) for name, row in zip(MUSCLE_REGIONS, strengths[0], strict=True)}
    arms = ("shoulder", "biceps", "triceps", "forearms", "wrists")
    legs = ("hamstring", "quadriceps", "calves", "inner thigh", "outer thigh", "gluteus", "feet ankles")
    expected = dict.fromkeys(MUSCLE_REGIONS, (1.0, 1.0))
    assert of_first == expected | dict.fromkeys(arms, (1.0, FAINT)) | dict.fromkeys(legs, (FAINT, 1.0))
    assert (strengths[1] == 1).all()


def test_sentences_name_the_side_and_the_windows():
    motion = np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.1], [0, 0]], [[0, 0.6], [0, 0]]], np.float32)
    assert side_sentences(motion) == [
        "The left arm moved clearly more than the right one in 2 of 3 windows.",
        "The right arm moved clearly more than the left one in 1 of 3 windows.",
        "The right leg moved clearly more than the left one in 1 of 3 windows.",
    ]
    assert side_sentences(motion[2:]) == ["The right arm moved clearly more than the left one."]
    assert side_sentences(motion[:0]) == []


@pytest.mark.parametrize(("activity", "limb"), [(CURL, "arms"), (PRESS, "arms"), (DONKEY_KICK, "legs")])
def test_rendered_people_who_train_one_side(activity, limb):
    """Never the wrong side or limb; where the estimator's errors are large, none."""
    sides = []
    for seed in range(16):
        skeleton, body = rendered(activity, seed)
        side = side_in_space(body, limb)
        found = leading_side(limb_motion(skeleton, COCO17, FPS))
        assert found in (BOTH, BOTH | {limb: side})
        sides.append(found[limb])
    assert sides.count(None) <= 2
    assert min(sides.count("left"), sides.count("right")) >= 4


@pytest.mark.parametrize("name", ["bodyweight squat", "biceps curl", "jumping jack", "push-up"])
def test_rendered_people_who_train_both_sides(name):
    (activity,) = select((name,))
    for seed in range(3):
        assert leading_side(limb_motion(rendered(activity, seed)[0], COCO17, FPS)) == BOTH


@pytest.mark.parametrize("view", ["front", "behind"])
def test_a_person_who_turns_round_keeps_their_sides(view):
    """From behind, the left arm is at the picture's left; its name goes with the person."""
    skeleton = person(left_wrist=(0.0, -1.0))
    if view == "behind":
        skeleton[..., 0] *= -1
    assert leading_side(limb_motion(skeleton, COCO17, FPS))["arms"] == "left"


def test_sides_that_the_estimator_exchanges_are_unknown():
    """As it does where a person is dark against the light, or turned away; a person who turns round takes longer."""
    skeleton = person(45, left_wrist=(0.0, -1.0))
    skeleton[15:30] = skeleton[15:30][:, :, list(get_layout("coco17").flip)]
    assert np.isnan(limb_motion(skeleton, COCO17, FPS)).all()
    skeleton = person(45, left_wrist=(0.0, -1.0))
    skeleton[..., 0] *= np.cos(np.linspace(0, np.pi, 45))[:, None, None]
    assert leading_side(limb_motion(skeleton, COCO17, FPS))["arms"] == "left"


@pytest.mark.parametrize(("clip", "side"), [("cam01", "right"), ("cam02", None)])
def test_the_real_person_lifts_the_right_leg(clip, side):
    """Both arms go up; in the second camera's view MediaPipe took left for right in a third of the frames."""
    skeleton = read_alphapose(ROOT / "tests" / "data" / "real" / f"pose2sim_{clip}.json", "coco17", 100)
    motion = limb_motion(skeleton, COCO17, 60.0)
    assert leading_side(motion) == {"arms": None, "legs": side}
    assert np.isnan(motion).all() == (side is None)
