"""Depthwise convolution against XLA's, in value and gradient."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels import depthwise_conv
from musclemap_jax.models.kernels.depthwise_conv import depthwise_conv3d
from musclemap_jax.models.kernels.sliding_windows import strided_grid
from tests.models.kernels.platforms import gradient_lowered_for, value_and_gradients

CASES = [  # grid, kernel, strides
    ((4, 8, 8), (3, 3, 3), (1, 1, 1)),
    ((3, 7, 5), (3, 3, 3), (1, 2, 2)),
    ((5, 9, 6), (3, 3, 3), (2, 2, 3)),
    ((2, 9, 17), (3, 3, 3), (1, 8, 8)),
    ((3, 6, 7), (1, 5, 3), (1, 2, 1)),
    ((7, 5, 4), (5, 1, 7), (3, 4, 2)),
    ((1, 1, 1), (3, 3, 3), (1, 4, 4)),
]


def xla_conv(x, kernel, strides):
    """What runs on other platforms than CPU: lax.conv_general_dilated."""
    return depthwise_conv._conv_xla(x, kernel, strides=strides)


@pytest.mark.parametrize(("grid", "size", "strides"), CASES)
def test_convolution_equals_xlas(grid, size, strides):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *grid, 5)).astype(np.float32)
    kernel = rng.standard_normal((*size, 5)).astype(np.float32)
    ours = value_and_gradients(functools.partial(depthwise_conv3d, strides=strides), x, kernel)
    theirs = value_and_gradients(functools.partial(xla_conv, strides=strides), x, kernel)
    assert ours[0].shape == (2, *strided_grid(grid, strides), 5)
    for name, a, b in zip(("value", "dx", "dw"), ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max(), err_msg=name)


def test_bfloat16_is_accumulated_in_float32():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, 4, 6, 6, 4)), jnp.bfloat16)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 4)), jnp.bfloat16)
    ours = value_and_gradients(lambda x, w: depthwise_conv3d(x, w, (1, 2, 2)), x, kernel)
    wide = [value.astype(jnp.float32) for value in (x, kernel)]
    theirs = value_and_gradients(lambda x, w: xla_conv(x, w, (1, 2, 2)), *wide)
    assert {value.dtype for value in ours} == {jnp.dtype("bfloat16")}
    # One rounding to bfloat16 of the float32 sum, and nothing more; dy is rounded in the gradients too.
    np.testing.assert_allclose(ours[0].astype(jnp.float32), theirs[0].astype(jnp.bfloat16).astype(jnp.float32))
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-7, atol=2**-7 * np.abs(b).max())


@pytest.mark.parametrize(("platform", "uses_xla"), [("tpu", True), ("cpu", False)])
def test_the_platform_is_chosen_at_lowering(platform, uses_xla):
    conv = gradient_lowered_for(platform, lambda x, w: depthwise_conv3d(x, w, (1, 2, 2)), (1, 4, 6, 6, 8), (3, 3, 3, 8))
    assert ("feature_group_count = 8" in conv) == uses_xla


def test_not_a_number_stays_visible():
    x = jnp.zeros((1, 1, 5, 5, 1)).at[0, 0, 0, 0, 0].set(jnp.nan)
    y = depthwise_conv3d(x, jnp.ones((3, 3, 3, 1)), (1, 1, 1))
    assert np.isnan(y[0, 0, :2, :2, 0]).all()
    assert not np.isnan(y[0, 0, 2:, 2:, 0]).any()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("kernel_shape", "dtype", "strides", "message"),
    [
        ((2, 3, 3, 4), jnp.float32, (1, 1, 1), "odd size"),
        ((3, 3, 3, 5), jnp.float32, (1, 1, 1), "equal channels and dtype"),
        ((3, 3, 3, 4), jnp.bfloat16, (1, 1, 1), "equal channels and dtype"),
        ((3, 3, 3, 4), jnp.float32, (1, 0, 1), "at least 1"),
    ],
)
def test_invalid_arguments_are_refused(kernel_shape, dtype, strides, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv3d(jnp.zeros((1, 2, 2, 2, 4)), jnp.zeros(kernel_shape, dtype), strides)
