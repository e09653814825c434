"""Convolution after space to depth: XLA's values, whatever the strides and kernels."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.space_to_depth_conv import space_to_depth_conv


@pytest.mark.parametrize(
    ("grid", "size", "strides"),
    [
        ((4, 16, 24), (3, 7, 7), (2, 4, 4)),
        ((3, 12, 9), (1, 5, 3), (1, 2, 3)),
        ((4, 8, 8), (3, 3, 3), (2, 2, 2)),
        ((4, 7, 8), (3, 3, 3), (2, 2, 2)),  # a height that the stride does not divide
    ],
)
def test_values_equal_xlas(grid, size, strides):
    rng = np.random.default_rng(0)
    video = jnp.asarray(rng.standard_normal((2, *grid, 3)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((*size, 3, 5)), jnp.float32)
    padding = [(k // 2, k // 2) for k in size]
    settings = {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC")}
    expected = lax.conv_general_dilated(video, kernel, strides, padding, **settings)
    np.testing.assert_allclose(space_to_depth_conv(video, kernel, strides, padding, **settings), expected, atol=1e-4)
