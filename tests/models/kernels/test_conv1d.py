"""The convolution over one axis, whose gradients are written out, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.conv1d import DIMENSION_NUMBERS, conv1d


def xla_conv(x, kernel, stride):
    reach = kernel.shape[0] // 2
    return lax.conv_general_dilated(x, kernel, (stride,), [(reach, reach)], dimension_numbers=DIMENSION_NUMBERS)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 12])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("num_taps", [1, 3, 9])
def test_values_and_gradients_are_those_of_xla(num_taps, stride, length):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((3, length, 4)), rng.standard_normal((num_taps, 4, 5))
    with jax.enable_x64(True):
        y, gradients = jax.vjp(lambda x, kernel: conv1d(x, kernel, stride), x, kernel)
        expected, expected_gradients = jax.vjp(lambda x, kernel: xla_conv(x, kernel, stride), x, kernel)
        assert y.shape == (3, -(-length // stride), 5)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        dy = jnp.asarray(rng.standard_normal(y.shape))
        for ours, theirs in zip(gradients(dy), expected_gradients(dy), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
