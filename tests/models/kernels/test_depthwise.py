"""Depthwise convolution and max pooling against the library's, in value and gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels import depthwise
from musclemap_jax.models.kernels.depthwise import depthwise_conv3d, max_pool3d, strided_grid

CASES = [  # grid, kernel, strides
    ((4, 8, 8), (3, 3, 3), (1, 1, 1)),
    ((3, 7, 5), (3, 3, 3), (1, 2, 2)),
    ((5, 9, 6), (3, 3, 3), (2, 2, 3)),
    ((2, 9, 17), (3, 3, 3), (1, 8, 8)),
    ((3, 6, 7), (1, 5, 3), (1, 2, 1)),
    ((7, 5, 4), (5, 1, 7), (3, 4, 2)),
    ((1, 1, 1), (3, 3, 3), (1, 4, 4)),
]


def library_conv(x, kernel, strides):
    """What runs on other platforms than CPU: lax.conv_general_dilated."""
    return depthwise._conv_by_library(x, kernel, strides=strides)


def value_and_gradients(function, *arguments):
    """Value, and gradients of its product with a fixed random array."""
    y = jax.eval_shape(function, *arguments)
    dy = jnp.asarray(np.random.default_rng(5).standard_normal(y.shape), y.dtype)

    def run(dy, *arguments):
        y, transpose = jax.vjp(function, *arguments)
        return y, *transpose(dy)

    return jax.jit(run)(dy, *arguments)


@pytest.mark.parametrize(("grid", "size", "strides"), CASES)
def test_convolution_equals_the_librarys(grid, size, strides):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *grid, 5)).astype(np.float32)
    kernel = rng.standard_normal((*size, 5)).astype(np.float32)
    ours = value_and_gradients(functools.partial(depthwise_conv3d, strides=strides), x, kernel)
    theirs = value_and_gradients(functools.partial(library_conv, strides=strides), x, kernel)
    assert ours[0].shape == (2, *strided_grid(grid, strides), 5)
    for name, a, b in zip(("value", "dx", "dw"), ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max(), err_msg=name)


def test_bfloat16_is_accumulated_in_float32():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, 4, 6, 6, 4)), jnp.bfloat16)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 4)), jnp.bfloat16)
    ours = value_and_gradients(lambda x, w: depthwise_conv3d(x, w, (1, 2, 2)), x, kernel)
    wide = [value.astype(jnp.float32) for value in (x, kernel)]
    theirs = value_and_gradients(lambda x, w: library_conv(x, w, (1, 2, 2)), *wide)
    assert {value.dtype for value in ours} == {jnp.dtype("bfloat16")}
    # One rounding to bfloat16 of the float32 sum, and nothing more; dy is rounded in the gradients too.
    np.testing.assert_allclose(ours[0].astype(jnp.float32), theirs[0].astype(jnp.bfloat16).astype(jnp.float32))
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-7, atol=2**-7 * np.abs(b).max())


@pytest.mark.parametrize(
    ("grid", "window", "strides"),
    [((4, 8, 8), (1, 3, 3), (1, 2, 2)), ((5, 7, 9), (3, 3, 5), (2, 2, 4)), ((3, 6, 7), (1, 4, 4), (1, 3, 3))],
)
def test_max_pooling_equals_the_librarys(grid, window, strides):
    x = np.random.default_rng(2).standard_normal((2, *grid, 3)).astype(np.float32)
    ours = value_and_gradients(lambda x: max_pool3d(x, window, strides), x)
    theirs = value_and_gradients(
        functools.partial(depthwise._max_by_library, window=window, strides=strides), jnp.asarray(x)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_max_pooling_gives_a_tie_to_the_first():
    x = jnp.ones((1, 1, 3, 3, 1))
    gradient = jax.grad(lambda x: max_pool3d(x, (1, 3, 3), (1, 2, 2)).sum())(x)
    # Windows begin at -1 and 1 on each axis; each has its first element inside the grid as the largest.
    np.testing.assert_array_equal(gradient[0, 0, :, :, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def lowered(platform, function, *shapes):
    """StableHLO of a gradient for a platform that need not be there."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    gradient = jax.jit(jax.grad(lambda *a: jnp.sum(function(*a) ** 2)))
    return gradient.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("platform", "library"), [("tpu", True), ("cpu", False)])
def test_the_platform_decides_at_lowering(platform, library):
    conv = lowered(platform, lambda x, w: depthwise_conv3d(x, w, (1, 2, 2)), (1, 4, 6, 6, 8), (3, 3, 3, 8))
    assert ("feature_group_count = 8" in conv) == library
    pool = lowered(platform, lambda x: max_pool3d(x, (1, 3, 3), (1, 2, 2)), (1, 4, 6, 6, 8))
    assert ("select_and_scatter" in pool) == library


def test_not_a_number_stays_visible():
    x = jnp.zeros((1, 1, 5, 5, 1)).at[0, 0, 0, 0, 0].set(jnp.nan)
    y = depthwise_conv3d(x, jnp.ones((3, 3, 3, 1)), (1, 1, 1))
    assert np.isnan(y[0, 0, :2, :2, 0]).all()
    assert not np.isnan(y[0, 0, 2:, 2:, 0]).any()


@pytest.mark.parametrize(
    ("kernel_shape", "dtype", "strides", "message"),
    [
        ((2, 3, 3, 4), jnp.float32, (1, 1, 1), "odd size"),
        ((3, 3, 3, 5), jnp.float32, (1, 1, 1), "one channel for each"),
        ((3, 3, 3, 4), jnp.bfloat16, (1, 1, 1), "same dtype"),
        ((3, 3, 3, 4), jnp.float32, (1, 0, 1), "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(kernel_shape, dtype, strides, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv3d(jnp.zeros((1, 2, 2, 2, 4)), jnp.zeros(kernel_shape, dtype), strides)
