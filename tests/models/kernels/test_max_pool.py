"""Max pooling against XLA's, in value and gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels import max_pool
from musclemap_jax.models.kernels.max_pool import max_pool3d
from tests.models.kernels.platforms import gradient_lowered_for, value_and_gradients


@pytest.mark.parametrize(
    ("grid", "window", "strides"),
    [((4, 8, 8), (1, 3, 3), (1, 2, 2)), ((5, 7, 9), (3, 3, 5), (2, 2, 4)), ((3, 6, 7), (1, 4, 4), (1, 3, 3))],
)
def test_max_pooling_equals_xlas(grid, window, strides):
    x = np.random.default_rng(2).standard_normal((2, *grid, 3)).astype(np.float32)
    ours = value_and_gradients(lambda x: max_pool3d(x, window, strides), x)
    theirs = value_and_gradients(
        functools.partial(max_pool._max_pool_xla, window=window, strides=strides), jnp.asarray(x)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_max_pooling_gives_a_tie_to_the_first():
    x = jnp.ones((1, 1, 3, 3, 1))
    gradient = jax.grad(lambda x: max_pool3d(x, (1, 3, 3), (1, 2, 2)).sum())(x)
    # Windows begin at -1 and 1 on each axis; each has its first element inside the grid as the largest.
    np.testing.assert_array_equal(gradient[0, 0, :, :, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(("platform", "uses_xla"), [("tpu", True), ("cpu", False)])
def test_the_platform_is_chosen_at_lowering(platform, uses_xla):
    pool = gradient_lowered_for(platform, lambda x: max_pool3d(x, (1, 3, 3), (1, 2, 2)), (1, 4, 6, 6, 8))
    assert ("select_and_scatter" in pool) == uses_xla
