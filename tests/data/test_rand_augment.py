"""RandAugment: names, magnitudes and draws; the same operations on all frames, joints and optical flow."""

import collections
from dataclasses import replace

import numpy as np
import pytest

from musclemap_jax.data import examples
from musclemap_jax.data.augmentation import AugmentationSpec
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch, write_example
from musclemap_jax.data.images import encode_grey_jpeg, encode_jpeg
from musclemap_jax.data.rand_augment import (
    VALUES,
    Operation,
    Policy,
    affine_map,
    apply_operations,
    draw_operations,
    parse_policy,
)
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.data.test_affine import _centre, _dots
from tests.no_augmentation import NO_AUGMENTATION

RECIPE = "rand-m7-n4-mstd0.5-inc1"


def test_names_are_read_as_timm_reads_them():
    assert parse_policy(RECIPE) == Policy(m=7, n=4, mstd=0.5, inc=1, p=0.5)
    assert parse_policy("rand") == Policy(m=10, n=2, mstd=0, inc=0, p=0.5)
    assert parse_policy("rand-n1-p1-m2.5") == Policy(m=2.5, n=1, p=1)


@pytest.mark.parametrize(
    "name",
    ["augmix-m7", "rand-m11", "rand-n0", "rand-n1.5", "rand-x3", "rand-m", "rand-inc2", "rand-p2", "m7", "rand-"],
)
def test_other_names_are_refused(name):
    with pytest.raises(UserError) as caught:
        AugmentationSpec(rand_augment=name)
    assert str(caught.value) == (
        "augmentation.rand_augment: expected a name such as rand-m7-n4-mstd0.5-inc1 (m: magnitude from 0 to 10; n: "
        "number of operations, at least 1; mstd: deviation of the magnitude, from 0 to 10; inc: 0 or 1; p: probability "
        f"of each, from 0 to 1), or nothing, got {name!r}"
    )


AT_SEVEN = {
    "auto_contrast": (None, None),
    "equalize": (None, None),
    "invert": (None, None),
    "rotate": (-21.0, -21.0),
    "posterize": (2, 2),
    "solarize": (77, 179),
    "solarize_add": (77, 77),
    **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), (0.37, 1.36)),
    **dict.fromkeys(("shear_x", "shear_y"), (-0.21, -0.21)),
    **dict.fromkeys(("translate_x", "translate_y"), (-0.315, -0.315)),
}
"""Values at magnitude 7 with a negative sign by timm's formulas: increasing, and not."""


@pytest.mark.parametrize("name", VALUES)
def test_magnitudes_are_timms(name):
    found = tuple(VALUES[name](0.7, -1, increasing) for increasing in (True, False))
    assert found == ((None, None) if AT_SEVEN[name][0] is None else pytest.approx(AT_SEVEN[name]))


def test_magnitudes_at_the_ends_of_the_scale():
    increasing = {name: (value(0.0, 1, True), value(1.0, 1, True)) for name, value in VALUES.items()}
    assert increasing["posterize"] == (4, 1)
    assert VALUES["posterize"](0.0, 1, False) == 1
    assert increasing["solarize"] == (256, 0)
    assert increasing["solarize_add"] == (0, 110)
    assert increasing["rotate"] == (0, 30)
    assert increasing["color"] == (1, 1.9)
    assert VALUES["color"](0.0, 1, False) == 0.1


def test_draws_follow_the_policy():
    rng = np.random.default_rng(0)
    draws = [draw_operations(RECIPE, rng) for _ in range(3000)]
    counts = collections.Counter(operation.name for draw in draws for operation in draw)
    assert set(counts) == set(VALUES)
    np.testing.assert_allclose(list(counts.values()), 3000 * 4 * 0.5 / 15, rtol=0.2)  # 6 deviations
    assert {len(draw) for draw in draws} == {0, 1, 2, 3, 4}
    degrees = np.array([operation.value for draw in draws for operation in draw if operation.name == "rotate"])
    assert abs((degrees > 0).mean() - 0.5) < 0.1
    np.testing.assert_allclose([np.abs(degrees).mean(), np.abs(degrees).std()], [21, 1.5], rtol=0.2)
    assert all(len(draw_operations("rand-n3-p1", rng)) == 3 for _ in range(20))


def test_the_seed_decides_and_no_name_draws_nothing():
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    assert draw_operations(RECIPE, first) == draw_operations(RECIPE, second)
    assert draw_operations("", first) == ()
    assert first.bit_generator.state == second.bit_generator.state


def test_all_frames_change_alike():
    frame = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    for seed in range(20):
        video = frame.repeat(3, axis=0)
        apply_operations(video, draw_operations("rand-m9-n5-p1-inc1", np.random.default_rng(seed)))
        np.testing.assert_array_equal(video, video[:1].repeat(3, axis=0))


def test_maps_are_applied_in_order():
    operations = (Operation("translate_x", 0.5), Operation("invert"), Operation("rotate", 90.0))
    # (8, 4) moves to (4, 4), the centre, which a rotation leaves where it is.
    np.testing.assert_allclose(affine_map(operations, 8) @ [8, 4, 1], [4, 4, 1], atol=1e-12)
    np.testing.assert_allclose(affine_map(operations[::-1], 8) @ [8, 4, 1], [0, 0, 1], atol=1e-12)
    assert affine_map((Operation("invert"),), 8) is None


JOINTS = np.array([[30.0, 25.0], [52.0, 30.0], [40.0, 52.0]])
"""Pixels x, y of three joints in frames of 96 x 80."""

SPEC = InputSpec(
    num_frames=1,
    frame_stride=1,
    crop_size=64,
    num_poses=1,
    num_persons=1,
    modalities=("video", "skeleton"),
    augmentation=replace(NO_AUGMENTATION, crop_area=(0.8, 0.8), crop_aspect=(0.8, 1.25), rand_augment=RECIPE),
)


def _record(places, joints):
    skeleton = np.zeros((1, 1, 17, 3), np.float32)
    skeleton[0, 0, [0, 5, 6]] = np.concatenate([joints, np.ones((3, 1))], axis=1)  # nose, left and right shoulder
    return {
        "clip_id": b"clip",
        "muscles": np.zeros(20, np.uint8),
        "fps": np.float32(30),
        "frames": [encode_jpeg(_dots(80, 96, places), quality=100)],
        "skeleton": skeleton,
        "skeleton_layout": b"coco17",
        "flow_x": [encode_grey_jpeg(np.full((80, 96), 168, np.uint8), 95)],
        "flow_y": [encode_grey_jpeg(np.full((80, 96), 128, np.uint8), 95)],
        "flow_scale": np.float32([0.1, 0.1]),
    }


def _written(places, spec=SPEC, seed=0):
    batch = empty_batch(spec, 1)
    write_example(batch, 0, _record(places, JOINTS), 0, spec, np.random.default_rng(seed))
    return batch


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize(
    "operations",
    [
        (Operation("rotate", 20.0),),
        (Operation("shear_x", 0.2), Operation("invert"), Operation("invert"), Operation("rotate", -10.0)),
        (Operation("translate_y", 0.1), Operation("shear_y", -0.2)),
    ],
    ids=str,
)
def test_the_skeleton_has_the_shape_that_the_video_shows(monkeypatch, operations, flip):
    """Joints in a batch are where they are in the video's pixels, up to the person's place and size."""
    monkeypatch.setattr(examples, "draw_operations", lambda name, rng: operations)
    spec = replace(SPEC, augmentation=replace(SPEC.augmentation, flip_probability=flip))
    seen = np.stack([_centre(_written([joint], spec)["video"][0, 0, 0]) for joint in JOINTS])

    rng = np.random.default_rng(0)
    rng.uniform()  # the flip
    rng.integers(0, 1)  # the window
    box = examples.random_crop(80, 96, spec.augmentation, rng)
    seen *= [box.width / 64, box.height / 64]  # the crop's stretch is not the joints'

    coco19 = LAYOUTS["coco19"].joints.index
    order = [coco19("nose"), *map(coco19, ("left_shoulder", "right_shoulder")[:: -1 if flip else 1])]
    poses = _written(JOINTS[:1], spec)["skeleton"][0, 0, 0, order, :2]
    in_video, in_batch = (points - points.mean(axis=0) for points in (seen, poses))
    np.testing.assert_allclose(in_batch / np.linalg.norm(in_batch), in_video / np.linalg.norm(in_video), atol=0.02)


def test_flow_follows_the_video_in_a_batch(monkeypatch):
    monkeypatch.setattr(examples, "draw_operations", lambda name, rng: (Operation("rotate", 90.0),))
    spec = replace(SPEC, modalities=("video", "flow"), augmentation=replace(NO_AUGMENTATION, flip_probability=1.0))
    flow = _written(JOINTS[:1], spec)["flow"][0, 0, 0]
    np.testing.assert_allclose(flow[20:40, 20:40], np.broadcast_to([128, 88], (20, 20, 2)), atol=3)  # upwards


def test_without_geometry_joints_and_flow_are_untouched(monkeypatch):
    spec = replace(SPEC, modalities=("video", "flow", "skeleton"))
    plain = _written(JOINTS[:1], replace(spec, augmentation=replace(spec.augmentation, rand_augment="")))
    monkeypatch.setattr(examples, "draw_operations", lambda name, rng: (Operation("invert"), Operation("equalize")))
    changed = _written(JOINTS[:1], spec)
    for name in ("flow", "skeleton", "skeleton_valid"):
        np.testing.assert_array_equal(changed[name], plain[name])
    assert (changed["video"] != plain["video"]).any()
