"""The depthwise kernels in interpret mode: values and gradients of XLA's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.depthwise_conv_tpu import ChannelGroup, grouped_depthwise, grouped_depthwise_fits


def xla_conv(x, kernel, groups):
    return tuple(
        lax.conv_general_dilated(
            x[..., group.start : group.stop],
            kernel[..., None, group.start : group.stop],
            group.strides,
            [(size // 2, size // 2) for size in kernel.shape[:3]],
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
            feature_group_count=group.stop - group.start,
        )
        for group in groups
    )


@pytest.mark.parametrize(
    ("grid", "size", "groups"),
    [
        ((3, 8, 8), (3, 3, 3), (ChannelGroup(0, 2, (1, 1, 1)), ChannelGroup(2, 6, (1, 4, 4)))),
        ((2, 7, 5), (3, 3, 3), (ChannelGroup(0, 140, (1, 2, 2)),)),  # more channels than a tile has lanes
        ((1, 4, 6), (5, 1, 3), (ChannelGroup(0, 3, (1, 1, 3)),)),
    ],
)
def test_values_and_gradients_equal_xlas(grid, size, groups):
    rng = np.random.default_rng(0)
    channels = groups[-1].stop
    x = jnp.asarray(rng.standard_normal((2, *grid, channels)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((*size, channels)), jnp.float32)

    def evaluate(function):
        out, transpose = jax.vjp(function, x, kernel)
        return *out, *transpose(jax.tree.map(jnp.cos, out))

    ours = jax.jit(lambda: evaluate(lambda x, kernel: grouped_depthwise(x, kernel, groups, vmem_bytes=None)))()
    theirs = jax.jit(lambda: evaluate(lambda x, kernel: xla_conv(x, kernel, groups)))()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_inputs_that_do_not_fit_into_vmem_or_stride_time_are_refused():
    shape, groups, vmem_bytes = (4, 8, 56, 56, 288), (ChannelGroup(0, 288, (1, 1, 1)),), 128 << 20
    assert grouped_depthwise_fits(shape, (3, 3, 3), groups, vmem_bytes)
    assert not grouped_depthwise_fits(shape, (3, 3, 3), groups, 16 << 20)
    assert not grouped_depthwise_fits(shape, (3, 3, 3), groups, 0)
    assert not grouped_depthwise_fits(shape, (3, 3, 3), (ChannelGroup(0, 288, (2, 1, 1)),), vmem_bytes)
