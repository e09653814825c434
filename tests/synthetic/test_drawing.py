"""Drawing: depth order, cameras, scenes and the visibility of joints."""

import dataclasses

import numpy as np
import pytest

from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import ACTIVITIES, select
from musclemap_jax.synthetic.camera import look_at, sample_motion
from musclemap_jax.synthetic.drawing import ClipRenderer, joint_positions
from musclemap_jax.synthetic.person import PARTS
from musclemap_jax.synthetic.raster import SHADES, Canvas, colour_table
from musclemap_jax.synthetic.scene import clip_rng, sample_scene

LIGHT = (0.0, -0.6, 0.8)


def material(canvas: Canvas, x: int, y: int) -> int:
    return int(canvas.code[y, x]) // SHADES


@pytest.mark.parametrize("near_first", [True, False])
def test_a_near_limb_hides_a_far_one_whatever_is_drawn_first(near_first):
    canvas = Canvas(64, LIGHT)
    near = (10, 32, 54, 32, 2.0, 2.0, 5, 5, 0.01, 1)
    far = (32, 10, 32, 54, 3.0, 3.0, 5, 5, 0.01, 2)
    for cone in (near, far) if near_first else (far, near):
        canvas.draw_cone(*cone)
    assert material(canvas, 32, 32) == 1
    assert material(canvas, 32, 14) == 2
    assert material(canvas, 5, 5) == 0


def test_crossing_limbs_hide_each_other_pixel_by_pixel():
    canvas = Canvas(64, LIGHT)
    canvas.draw_cone(8, 32, 56, 32, 2.0, 4.0, 6, 6, 0.01, 1)  # recedes to the right
    canvas.draw_cone(8, 34, 56, 34, 4.0, 2.0, 6, 6, 0.01, 2)  # approaches to the right
    assert material(canvas, 12, 33) == 1
    assert material(canvas, 52, 33) == 2


def test_a_polygon_keeps_the_depth_of_its_plane():
    canvas = Canvas(40, LIGHT)
    corners = np.array([[5, 5], [35, 5], [35, 35], [5, 35]], float)
    canvas.draw_polygon(corners, np.array([2.0, 4.0, 4.0, 2.0]), 1, 0.5)
    assert canvas.depth[20, 5] == pytest.approx(2.0, abs=0.1)
    assert canvas.depth[20, 20] == pytest.approx(8 / 3, abs=0.05)  # the inverse of depth is linear
    canvas.draw_cone(20, 20, 20, 20, 3.0, 3.0, 4, 4, 0.01, 2)
    assert material(canvas, 20, 20) == 1


def test_light_comes_from_above_and_colours_from_the_table():
    canvas = Canvas(64, LIGHT)
    canvas.draw_cone(8, 32, 56, 32, 2.0, 2.0, 12, 12, 0.01, 1)
    table = colour_table(np.array([[200.0, 100.0, 50.0]]))
    top, bottom = table[canvas.code[24, 32]].astype(int), table[canvas.code[42, 32]].astype(int)
    assert top[0] > 1.3 * bottom[0]
    assert top[0] / top[1] == pytest.approx(2.0, abs=0.1)


def test_the_camera_zooms_to_the_points():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)) + [0, 0, 1]
    camera = look_at(np.array([4.0, 1.0, 1.5]), points, 128, 0.8, np.zeros(2))
    uv, depth = camera.project(points)
    assert np.ptp(uv, axis=0).max() == pytest.approx(0.8 * 128)
    assert uv.min() > 0
    assert uv.max() < 128
    assert (depth > 0).all()
    above, _ = camera.project(np.array([[0, 0, 1.5], [0, 0, 0.5]]))
    assert above[0, 1] < above[1, 1]
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)


def test_a_tripod_does_not_move():
    motion = sample_motion(5, 128, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(motion, np.broadcast_to(np.eye(2, 3), (5, 2, 3)), atol=1e-12)


def test_joints_are_mostly_in_the_picture_and_vary_between_clips():
    fractions, positions = [], []
    for activity in ACTIVITIES[::4]:
        scene = sample_scene(activity, 0, f"{activity.slug}_0", 6, 128, 15.0)
        joints = joint_positions(scene, scene.body)
        assert joints.shape == (6, 17, 2)
        fractions.append(((joints > 0) & (joints < 128)).all(-1).mean())
        positions.append(joints[0])
    assert np.mean(fractions) > 0.93
    assert np.ptp(np.stack(positions), axis=0).min() > 10


def test_hidden_joints_are_distinguished_from_visible_ones():
    (activity,) = select(("jumping jack",))
    for number in range(200):
        scene = sample_scene(activity, 0, f"clip_{number}", 8, 64, 15.0)
        ahead = scene.camera.axes[2]
        face = scene.body.frames["head"][0, :, 0]
        if ahead @ face > 0.85 and scene.bystander is None:  # filmed from behind
            renderer = ClipRenderer(scene, 64, clip_rng(0, "x", "drawing"))
            frames = list(renderer.frames())
            assert all(frame.shape == (64, 64, 3) and frame.dtype == np.uint8 for frame in frames)
            assert renderer.visible[:, 0, 5:7].all()  # shoulders
            assert not renderer.visible[:, 0, 0].any()  # nose
            return
    pytest.fail("no clip is filmed from behind")


def test_weights_are_visible_in_the_picture_only():
    (activity,) = select(("biceps curl",))
    scene = dataclasses.replace(sample_scene(activity, 0, "clip", 2, 64, 15.0), darkness=0.0)
    bare = dataclasses.replace(scene, props=())
    with_weights, without = (
        next(ClipRenderer(s, 64, clip_rng(0, "clip", "drawing")).frames()).astype(int) for s in (scene, bare)
    )
    assert (np.abs(with_weights - without).max(-1) > 30).sum() > 5
    np.testing.assert_array_equal(joint_positions(scene, scene.body), joint_positions(bare, bare.body))


def test_dark_scenes_are_dark():
    scene = sample_scene(ACTIVITIES[0], 0, "clip", 2, 64, 15.0)
    light, dark = (
        np.mean(list(ClipRenderer(dataclasses.replace(scene, darkness=d), 64, clip_rng(0, "c", "d")).frames()))
        for d in (0.0, 0.9)
    )
    assert dark < 0.4 * light


def test_part_masks_show_the_part_of_the_body_at_every_pixel():
    """In a push-up, each visible elbow, knee and nose lies on its own part."""
    (activity,) = select(("push-up",))
    scene = dataclasses.replace(sample_scene(activity, 5, "parts", 6, 96, 15.0), bystander=None)
    renderer = ClipRenderer(scene, 96, clip_rng(5, "parts", "drawing"))
    masks = np.stack(list(renderer.part_masks()))
    frames = np.stack(list(renderer.frames()))
    assert masks.shape == frames.shape[:3]
    names = get_layout("coco17").joints
    joints = np.rint(joint_positions(scene, scene.body)).astype(int)
    checked = set()
    for joint, part in {
        "nose": "head", "left_elbow": "left arm", "right_elbow": "right arm", "left_knee": "left leg",
        "right_knee": "right leg",
    }.items():  # fmt: skip
        v = names.index(joint)
        for t in np.flatnonzero(renderer.visible[:, 0, v]):
            x, y = joints[t, v]
            assert PARTS.index(part) + 1 in masks[t, y - 1 : y + 2, x - 1 : x + 2], (joint, t)
            checked.add(part)
    assert {"head"} < checked
    assert set(np.unique(masks)) <= set(range(len(PARTS) + 1))
    assert 0.02 < (masks > 0).mean() < 0.4


def test_masks_do_not_change_the_frames():
    (activity,) = select(("push-up",))
    scene = sample_scene(activity, 5, "same", 3, 64, 15.0)
    first = ClipRenderer(scene, 64, clip_rng(5, "same", "drawing"))
    list(first.part_masks())
    second = ClipRenderer(scene, 64, clip_rng(5, "same", "drawing"))
    np.testing.assert_array_equal(list(first.frames()), list(second.frames()))
