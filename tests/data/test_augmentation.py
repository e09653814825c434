"""Random changes: the same for all frames, the right ones for the joints."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_jax.data.augmentation import (
    ERASE_VALUE,
    AugmentationSpec,
    augment_poses,
    augment_video,
    erase_rectangle,
    fixed_crops,
    flip_poses,
    flip_video,
    jitter_colours,
    random_crop,
)
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from tests.no_augmentation import NO_AUGMENTATION


def _video(seed, num_frames=3, height=12, width=10):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), np.uint8)


def _changed(change, video, *arguments):
    """A copy of a video that a function has changed in place."""
    copy = video.copy()
    change(copy, *arguments)
    return copy


def _poses(seed, num_joints=19):
    rng = np.random.default_rng(seed)
    poses = rng.normal(size=(8, 2, num_joints, 3)).astype(np.float32)
    poses[..., 2] = rng.uniform(0.1, 1, poses.shape[:3])
    return np.where(rng.uniform(size=(*poses.shape[:3], 1)) < 0.2, np.float32(0), poses)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), height=st.integers(1, 20), width=st.integers(1, 20))
def test_flipping_twice_is_the_identity(seed, height, width):
    video = _video(seed, height=height, width=width)
    flipped = _changed(flip_video, video)
    np.testing.assert_array_equal(flipped, video[:, :, ::-1])
    np.testing.assert_array_equal(_changed(flip_video, flipped), video)
    poses, flip = _poses(seed), get_layout("coco19").flip
    np.testing.assert_array_equal(flip_poses(flip_poses(poses, flip), flip), poses)


def test_flip_swaps_left_and_right_and_mirrors_x():
    layout = get_layout("coco19")
    poses = np.zeros((1, 1, 19, 3), np.float32)
    poses[0, 0, layout.joints.index("left_wrist")] = [0.5, -1, 0.9]
    flipped = flip_poses(poses, layout.flip)
    np.testing.assert_allclose(flipped[0, 0, layout.joints.index("right_wrist")], [-0.5, -1, 0.9])
    assert (flipped != 0).sum() == 3
    assert not np.signbit(flipped[0, 0, 0]).any()


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), height=st.integers(8, 400), width=st.integers(8, 400))
def test_random_crops_lie_in_the_frame_within_the_ranges(seed, height, width):
    spec = AugmentationSpec(crop_area=(0.3, 0.9), crop_aspect=(0.8, 1.25))
    box = random_crop(height, width, spec, np.random.default_rng(seed))
    assert box.top >= 0
    assert box.left >= 0
    assert box.top + box.height <= height + 1e-9
    assert box.left + box.width <= width + 1e-9
    assert 0.8 - 1e-9 <= box.width / box.height <= 1.25 + 1e-9
    assert box.width * box.height <= 0.9 * height * width + 1e-6


def test_random_crops_cover_the_ranges():
    spec = AugmentationSpec(crop_area=(0.25, 1.0), crop_aspect=(1.0, 1.0))
    rng = np.random.default_rng(0)
    boxes = np.array([random_crop(100, 100, spec, rng) for _ in range(500)])
    np.testing.assert_allclose(boxes[:, 2], boxes[:, 3])
    assert boxes[:, 2].min() < 52
    assert boxes[:, 2].max() > 98
    assert boxes[:, 0].max() > 40
    assert boxes[:, 1].max() > 40


def test_fixed_crops_by_hand():
    assert fixed_crops(256, 340) == ((0, 42, 256, 256),)
    assert fixed_crops(341, 256) == ((42.5, 0, 256, 256),)
    assert fixed_crops(256, 340, 3) == ((0, 0, 256, 256), (0, 42, 256, 256), (0, 84, 256, 256))
    assert fixed_crops(341, 256, 3) == ((0, 0, 256, 256), (42.5, 0, 256, 256), (85, 0, 256, 256))
    assert fixed_crops(64, 64, 3) == ((0, 0, 64, 64),) * 3


def test_no_augmentation_changes_nothing():
    video, poses = _video(0), _poses(0)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(_changed(augment_video, video, False, NO_AUGMENTATION, rng), video)
    np.testing.assert_array_equal(augment_poses(poses, NO_AUGMENTATION, rng), poses)
    np.testing.assert_allclose(random_crop(64, 64, NO_AUGMENTATION, rng), (0, 0, 64, 64), atol=1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_every_frame_of_a_clip_is_changed_alike(seed):
    video = _video(seed, num_frames=1).repeat(5, axis=0)
    spec = AugmentationSpec(colour_probability=1, erase_probability=1)
    changed = _changed(augment_video, video, bool(seed % 2), spec, np.random.default_rng(seed))
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, changed[:1].repeat(5, axis=0))


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_colours_equal_the_three_changes_one_by_one(seed):
    video = _video(seed)
    spec = AugmentationSpec(brightness=0.4, contrast=0.5, saturation=0.6)
    jittered = _changed(jitter_colours, video, spec, np.random.default_rng(seed))
    brightness, contrast, saturation = 1 + np.random.default_rng(seed).uniform(-1, 1, 3) * (0.4, 0.5, 0.6)
    weights = np.array([0.299, 0.587, 0.114])
    bright = video.astype(np.float64) * brightness
    grey = (bright @ weights)[..., None]
    coloured = grey + saturation * (bright - grey)
    mean = (bright @ weights).mean()
    expected = np.clip(mean + contrast * (coloured - mean), 0, 255)
    assert np.abs(jittered - expected).max() <= 1.5


def test_zero_ranges_of_colour_change_nothing():
    video = _video(1)
    spec = AugmentationSpec(brightness=0, contrast=0, saturation=0)
    assert np.abs(_changed(jitter_colours, video, spec, np.random.default_rng(0)).astype(int) - video).max() <= 1


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_erasing_covers_one_rectangle_of_the_right_size(seed):
    video = np.zeros((2, 40, 50, 3), np.uint8)
    spec = AugmentationSpec(erase_area=(0.1, 0.2), erase_aspect=(0.5, 2.0))
    erase_rectangle(video, spec, np.random.default_rng(seed))
    covered = video[0, :, :, 0] == ERASE_VALUE
    assert (video[covered[None].repeat(2, 0)] == ERASE_VALUE).all()
    rows, columns = covered.any(axis=1).sum(), covered.any(axis=0).sum()
    assert covered.sum() == rows * columns
    assert 0.08 <= covered.mean() <= 0.22


def test_a_quarter_turn_and_stretch_by_hand():
    poses = np.zeros((1, 1, 2, 3), np.float32)
    poses[0, 0, 0] = [1, 0, 0.5]
    poses[0, 0, 1] = [0, 1, 0.5]
    spec = replace(NO_AUGMENTATION, joint_stretch=(2.0, 2.0))
    np.testing.assert_allclose(augment_poses(poses, spec, np.random.default_rng(0))[..., :2], 2 * poses[..., :2])
    spec = replace(NO_AUGMENTATION, joint_rotation=90.0)
    turned = augment_poses(poses, spec, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    rng.uniform(0, 0, 2)
    angle = math.radians(rng.uniform(-90, 90))
    np.testing.assert_allclose(turned[0, 0, 0, :2], [math.cos(angle), math.sin(angle)], rtol=1e-5)
    np.testing.assert_allclose(turned[0, 0, 1, :2], [-math.sin(angle), math.cos(angle)], rtol=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_absent_joints_stay_absent_and_drops_last_for_the_clip(seed):
    poses = _poses(seed)
    spec = AugmentationSpec(joint_drop_probability=0.3)
    changed = augment_poses(poses, spec, np.random.default_rng(seed))
    assert (changed[poses[..., 2] == 0] == 0).all()
    dropped = (changed[..., 2] == 0) & (poses[..., 2] > 0)
    for person, joint in np.argwhere(dropped.any(axis=0)):
        assert (changed[:, person, joint] == 0).all()
    kept = changed[..., 2] > 0
    np.testing.assert_array_equal(changed[..., 2][kept], poses[..., 2][kept])


def test_dropping_every_joint():
    spec = replace(NO_AUGMENTATION, joint_drop_probability=1.0)
    assert (augment_poses(_poses(0), spec, np.random.default_rng(0)) == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"crop_area": (0.0, 1.0)},
            r"augmentation.crop_area: expected two numbers, 0 < low <= high <= 1, got \(0.0, 1.0\)",
        ),
        ({"crop_area": (0.5, 1.2)}, "crop_area"),
        ({"crop_area": (0.9, 0.5)}, "crop_area"),
        ({"crop_aspect": (1.0, float("inf"))}, "crop_aspect"),
        ({"crop_aspect": (1.0,)}, "crop_aspect"),
        ({"erase_area": (0.2, 1.5)}, "erase_area"),
        ({"flip_probability": 1.5}, "flip_probability: expected 0 <= value <= 1, got 1.5"),
        ({"brightness": -0.1}, "brightness"),
        ({"colour_probability": float("nan")}, "colour_probability"),
        ({"pose_span": 0.0}, "pose_span"),
        ({"joint_rotation": 200.0}, "joint_rotation"),
        ({"joint_jitter": -1.0}, "joint_jitter"),
        ({"joint_stretch": (-1.0, 1.0)}, "joint_stretch"),
    ],
)
def test_impossible_ranges_are_refused_by_name(fields, message):
    with pytest.raises(UserError, match=message):
        AugmentationSpec(**fields)


def test_ranges_may_come_as_lists_from_a_config():
    assert AugmentationSpec(crop_area=[0.5, 1.0]) == AugmentationSpec(crop_area=(0.5, 1.0))
