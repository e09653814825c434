"""Optical flow: what is estimated, and its 8-bit form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from musclemap_jax.data.raw import flow
from musclemap_jax.errors import UserError

NEEDS_CONTRIB = pytest.mark.skipif(not hasattr(cv2, "optflow"), reason="needs opencv-contrib-python-headless")


@pytest.mark.parametrize("method", ["dis", pytest.param("tvl1", marks=NEEDS_CONTRIB)])
def test_a_known_motion_is_estimated(method):
    noise = np.random.default_rng(0).integers(0, 255, (48, 64), np.uint8)
    first = cv2.GaussianBlur(noise, (0, 0), 2)
    second = np.roll(first, (1, 2), axis=(0, 1))
    estimated = flow.make_estimator(method)(first, second)
    assert estimated.dtype == np.float32
    np.testing.assert_allclose(np.median(estimated, axis=(0, 1)), [2, 1], atol=0.05)


def test_eight_bits_keep_motion_to_half_a_step_and_clip_what_is_beyond():
    motion = np.array([[[0.0, 19.7], [-3.3, 0.04]], [[50.0, -50.0], [1.0, -1.0]]], np.float32)
    values = flow.encode_flow(motion, 20)
    assert values.dtype == np.uint8
    assert values[0, 0, 0] == flow.NO_MOTION
    decoded = flow.decode_flow(values, np.full(2, flow.step_px(20)))
    inside = np.abs(motion) < 20
    assert np.abs(decoded - motion)[inside].max() <= flow.step_px(20) / 2 + 1e-6
    np.testing.assert_allclose(decoded[1, 0], [20, -20], atol=0.1)


def test_an_unavailable_method_is_refused_with_the_package_that_has_it(monkeypatch):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(UserError, match="opencv-contrib-python-headless"):
        flow.make_estimator("tvl1")
    with pytest.raises(UserError, match="expected one of dis, tvl1, got 'farneback'"):
        flow.make_estimator("farneback")
