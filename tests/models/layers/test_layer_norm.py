"""Layer norm: values and gradients against automatic differentiation, precision, initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.layers.layer_norm import LayerNorm, layer_norm
from tests.models import goldens


def plain_layer_norm(x, scale, bias, num_axes, epsilon):
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    wide = (1,) * (x.ndim - scale.ndim)
    return (x - mean) / jnp.sqrt(variance + epsilon) * scale.reshape(wide + scale.shape) + bias.reshape(
        wide + bias.shape
    )


@pytest.mark.parametrize(("weight_shape", "num_axes"), [((6,), 1), ((4, 6), 2), ((4, 6), 1)])
def test_layer_norm_and_its_gradient(weight_shape, num_axes):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 3, 4, 6)) * 3 + 10, jnp.float32)  # a mean that cancels badly
    scale, bias = (jnp.asarray(rng.standard_normal(weight_shape), jnp.float32) for _ in range(2))
    weight = jnp.asarray(rng.standard_normal(x.shape), jnp.float32)

    def both(function):
        @jax.jit
        def run(*arguments):
            y, transpose = jax.vjp(lambda *a: function(*a, num_axes, 1e-6), *arguments)
            return y, *transpose(weight)

        return run(x, scale, bias)

    for ours, theirs in zip(both(layer_norm), both(plain_layer_norm), strict=True):
        goldens.assert_close(ours, theirs, 1e-5)


def test_narrow_input_is_normalised_in_float32():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 64)) + 30, jnp.bfloat16)
    weight = jnp.ones(64), jnp.zeros(64)
    y = layer_norm(x, *weight, 1, 1e-6)
    assert y.dtype == jnp.bfloat16
    exact = plain_layer_norm(x.astype(jnp.float32), *weight, 1, 1e-6)
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_initialisation_is_pyslowfasts():
    params = LayerNorm().init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    np.testing.assert_array_equal(params["scale"], 1)
    np.testing.assert_array_equal(params["bias"], np.float32(0.02))
