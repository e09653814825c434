"""The convolution as products equals XLA's, in value and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.conv3d import conv3d

CASES = [
    ((4, 6, 8), (1, 1, 1), (1, 1, 1)),
    ((4, 7, 5), (1, 1, 1), (1, 2, 2)),
    ((4, 6, 8), (3, 1, 1), (1, 1, 1)),
    ((2, 4, 4), (7, 1, 1), (1, 1, 1)),  # the kernel reaches further than the clip
    ((8, 4, 5), (7, 1, 1), (4, 1, 1)),
    ((3, 6, 7), (1, 3, 3), (1, 1, 1)),
    ((3, 6, 7), (1, 3, 3), (1, 2, 2)),
    ((5, 12, 9), (5, 7, 7), (1, 2, 2)),
    ((5, 6, 7), (3, 3, 3), (2, 1, 2)),
]


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize(("grid", "size", "strides"), CASES)
def test_products_equal_the_convolution(grid, size, strides, channels):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, *grid, channels)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((*size, channels, 4)), jnp.float32)

    def xla(x, kernel):
        padding = [(length // 2, length // 2) for length in size]
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))

    def run(convolve):
        def both(x, kernel):
            y, transpose = jax.vjp(convolve, x, kernel)
            return y, *transpose(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

        return jax.jit(both)(x, kernel)

    for ours, expected in zip(run(lambda x, kernel: conv3d(x, kernel, strides)), run(xla), strict=True):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
