"""The patch embedding as one matrix product equals XLA's convolution, in value and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.few_channels_conv import conv_as_matmul

CASES = [
    ((16, 18, 20), (3, 7, 7), (2, 4, 4)),  # as in MViTv2
    ((5, 13, 11), (3, 7, 7), (2, 4, 4)),  # sizes that the stride does not divide
    ((3, 6, 9), (1, 3, 5), (1, 1, 2)),
    ((7, 10, 11), (1, 1, 3), (3, 4, 5)),  # strides larger than the kernel
    ((1, 1, 1), (3, 7, 7), (2, 4, 4)),
]


def xla_conv(video, kernel, stride, padding):
    return lax.conv_general_dilated(video, kernel, stride, padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


@pytest.mark.parametrize(("size", "kernel", "stride"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_matmul_equals_convolution(size, kernel, stride, dtype, tolerance):
    rng = np.random.default_rng(0)
    padding = [(length // 2, length // 2) for length in kernel]
    video = jnp.asarray(rng.standard_normal((2, *size, 3)), dtype)
    weights = jnp.asarray(rng.standard_normal((*kernel, 3, 4)) * 0.1, dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def run(convolve, video, weights):
        output, transpose = jax.vjp(lambda video, weights: convolve(video, weights, stride, padding), video, weights)
        return output, *transpose(jnp.cos(jnp.arange(output.size, dtype=dtype)).reshape(output.shape))

    for ours, expected in zip(run(conv_as_matmul, video, weights), run(xla_conv, video, weights), strict=True):
        assert ours.shape == expected.shape
        ours, expected = np.asarray(ours, np.float32), np.asarray(expected, np.float32)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3))
