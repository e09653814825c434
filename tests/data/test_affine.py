"""Geometric operations: pixels against Pillow, joints that stay on their pixels, flow that turns with them."""

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.data.affine import AFFINE_MAPS, in_frame, move_flow, move_frames, move_joints
from musclemap_jax.data.augmentation import Box
from musclemap_jax.data.frames import decode_frames
from musclemap_jax.data.images import encode_jpeg

SIZE = 48
VALUES = {"rotate": 21.0, "shear_x": 0.21, "shear_y": -0.21, "translate_x": -0.2, "translate_y": 0.315}


def _dots(height, width, places):
    """A grey picture with soft bright dots at places x, y."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    picture = np.full((height, width), 20.0)
    for dot_x, dot_y in places:
        picture += 200 * np.exp(-((x[None] - dot_x) ** 2 + (y[:, None] - dot_y) ** 2) / (2 * 2.0**2))
    return np.repeat(picture.clip(0, 255)[..., None], 3, axis=-1).astype(np.uint8)


def _centre(picture):
    """The place x, y of the only dot."""
    weights = np.clip(picture[..., 0].astype(float) - 135, 0, None)  # above the grey that fills the border
    x, y = np.arange(picture.shape[1]) + 0.5, np.arange(picture.shape[0]) + 0.5
    return np.array([(weights * x[None]).sum(), (weights * y[:, None]).sum()]) / weights.sum()


def _pillow(image, name, value):
    if name == "rotate":
        return image.rotate(value, resample=Image.BILINEAR, fillcolor=(128,) * 3)
    matrices = {
        "shear_x": (1, value, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, value, 1, 0),
        "translate_x": (1, 0, value * image.size[0], 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, value * image.size[1]),
    }
    return image.transform(image.size, Image.AFFINE, matrices[name], resample=Image.BILINEAR, fillcolor=(128,) * 3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", AFFINE_MAPS)
def test_pixels_move_as_pillow_moves_them(name, sign):
    value = sign * VALUES[name]
    picture = _dots(SIZE, SIZE, [(20, 17), (30, 33)])
    video = np.stack([picture, picture])
    move_frames(video, AFFINE_MAPS[name](value, SIZE))
    np.testing.assert_array_equal(video[0], video[1])
    expected = np.asarray(_pillow(Image.fromarray(picture), name, value)).astype(int)
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    from_x, from_y, _ = np.linalg.inv(AFFINE_MAPS[name](value, SIZE)) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    # At the border of the picture, Pillow does not blend it with the fill.
    inside = (np.minimum(from_x, from_y) > 1) & (np.maximum(from_x, from_y) < SIZE - 1)
    outside = (np.minimum(from_x, from_y) < -1) | (np.maximum(from_x, from_y) > SIZE + 1)
    differs = np.abs(video[0].astype(int) - expected).max(axis=-1).ravel()
    assert differs[inside].max() <= 3
    assert (video[0].reshape(-1, 3)[outside] == 128).all()
    assert inside.sum() + outside.sum() > 0.85 * SIZE**2


@pytest.mark.parametrize("name", AFFINE_MAPS)
@pytest.mark.parametrize("box", [Box(0, 0, 64, 64), Box(6, 20, 50, 66), Box(10.0, 14.0, 60.0, 45.0)], ids=str)
def test_joints_stay_on_their_pixels(name, box):
    """The joint moves in the stored frame; there, cropped as the video was, it is where its pixels have moved to."""
    joint = np.array([44.0, 36.0])
    video = np.empty((1, SIZE, SIZE, 3), np.uint8)
    jpeg = encode_jpeg(_dots(80, 100, [joint]), quality=100)
    decode_frames([jpeg], np.array([0]), (box,), video)
    crop_map = AFFINE_MAPS[name](VALUES[name], SIZE)
    move_frames(video, crop_map)

    poses = np.zeros((1, 1, 2, 3), np.float32)
    poses[0, 0, 0] = [*joint, 0.7]
    moved = move_joints(poses, in_frame(crop_map, box, SIZE))
    assert (moved[0, 0, 1] == 0).all()  # an absent joint
    assert moved[0, 0, 0, 2] == np.float32(0.7)
    in_crop = (moved[0, 0, 0, :2] - [box.left, box.top]) * [SIZE / box.width, SIZE / box.height]
    np.testing.assert_allclose(in_crop, _centre(video[0]), atol=0.3)
    assert np.abs(moved[0, 0, 0, :2] - joint).max() > 1


def test_maps_by_hand():
    corner = np.array([0.0, 10.0, 1.0])
    np.testing.assert_allclose(AFFINE_MAPS["rotate"](90.0, 10) @ corner, [10, 10, 1], atol=1e-12)
    np.testing.assert_allclose(AFFINE_MAPS["shear_x"](0.5, 10) @ corner, [-5, 10, 1])
    np.testing.assert_allclose(AFFINE_MAPS["shear_y"](0.5, 10) @ corner, [0, 10, 1])
    np.testing.assert_allclose(AFFINE_MAPS["translate_x"](0.2, 10) @ corner, [-2, 10, 1])
    np.testing.assert_allclose(AFFINE_MAPS["translate_y"](0.2, 10) @ corner, [0, 8, 1])


def test_flow_turns_with_the_picture():
    """A quarter turn counter-clockwise: what moved to the right moves upwards, from its new place."""
    flow = np.full((2, 8, 8, 2), 128, np.uint8)
    flow[:, 1, 6] = [168, 128]  # upper right: 40 levels to the right
    quarter = AFFINE_MAPS["rotate"](90.0, 8)
    move_flow(flow, quarter, quarter, np.array([0.1, 0.1], np.float32))
    expected = np.full((2, 8, 8, 2), 128)
    expected[:, 1, 1] = [128, 88]  # now upper left
    np.testing.assert_allclose(flow, expected, atol=1)

    flow = np.full((1, 8, 8, 2), 128, np.uint8)
    flow[..., 0] = 168
    move_flow(flow, quarter, quarter, np.array([0.1, 0.2], np.float32))
    np.testing.assert_allclose(flow[0, 4, 4], [128, 108], atol=1)  # 4 pixels up, where a level is 0.2 pixels
