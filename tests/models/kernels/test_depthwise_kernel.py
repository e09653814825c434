"""Tests of the depthwise kernels, run as JAX operations: values and gradients of the library's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from musclemap_jax.models.kernels.depthwise_kernel import Group, fits, grouped_depthwise


def by_library(x, kernel, groups):
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
        ((3, 8, 8), (3, 3, 3), (Group(0, 2, (1, 1, 1)), Group(2, 6, (1, 4, 4)))),
        ((2, 7, 5), (3, 3, 3), (Group(0, 140, (1, 2, 2)),)),  # more channels than a tile has lanes
        ((1, 4, 6), (5, 1, 3), (Group(0, 3, (1, 1, 3)),)),
    ],
)
def test_values_and_gradients_equal_the_librarys(grid, size, groups):
    rng = np.random.default_rng(0)
    channels = groups[-1].stop
    x = jnp.asarray(rng.standard_normal((2, *grid, channels)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((*size, channels)), jnp.float32)

    def evaluate(function):
        out, transpose = jax.vjp(function, x, kernel)
        return *out, *transpose(jax.tree.map(jnp.cos, out))

    ours = jax.jit(lambda: evaluate(lambda x, kernel: grouped_depthwise(x, kernel, groups, vmem_bytes=None)))()
    theirs = jax.jit(lambda: evaluate(lambda x, kernel: by_library(x, kernel, groups)))()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_what_fast_memory_cannot_hold_or_strides_time_is_left_to_the_library():
    shape, groups, vmem_bytes = (4, 8, 56, 56, 288), (Group(0, 288, (1, 1, 1)),), 128 << 20
    assert fits(shape, (3, 3, 3), groups, vmem_bytes)
    assert not fits(shape, (3, 3, 3), groups, 16 << 20)
    assert not fits(shape, (3, 3, 3), groups, 0)
    assert not fits(shape, (3, 3, 3), (Group(0, 288, (2, 1, 1)),), vmem_bytes)
