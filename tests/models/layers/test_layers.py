"""Shared layers: values and gradients against automatic differentiation, initialisation, stochastic depth."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.layers import layers
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
    x = rng.standard_normal((2, 3, 4, 6)).astype(np.float32) * 3 + 10  # a mean that cancels badly
    scale, bias = (rng.standard_normal(weight_shape).astype(np.float32) for _ in range(2))
    weight = rng.standard_normal(x.shape).astype(np.float32)

    def both(function):
        @jax.jit
        def run(*arguments):
            y, transpose = jax.vjp(lambda *a: function(*a, num_axes, 1e-6), *arguments)
            return y, *transpose(weight)

        return run(x, scale, bias)

    for ours, theirs in zip(both(layers.layer_norm), both(plain_layer_norm), strict=True):
        goldens.assert_close(ours, theirs, 1e-5)


def test_gelu_and_its_gradient():
    x = np.linspace(-6, 6, 41, dtype=np.float32)
    exact = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()]
    np.testing.assert_allclose(layers.gelu(x), exact, atol=1e-6)
    step = 1e-3
    numeric = [
        (b * (1 + math.erf(b / math.sqrt(2))) - a * (1 + math.erf(a / math.sqrt(2)))) / (4 * step)
        for a, b in ((value - step, value + step) for value in x.tolist())
    ]
    np.testing.assert_allclose(jax.vmap(jax.grad(layers.gelu))(x), numeric, atol=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_relu_and_its_gradient(slope):
    x = jnp.asarray([-jnp.inf, -3.0, -1e-3, 0.0, 1e-3, 3.0, jnp.nan])
    y, transpose = jax.vjp(lambda x: layers.relu(x, slope), x)
    np.testing.assert_allclose(y[1:], jax.nn.leaky_relu(x, slope)[1:], rtol=1e-7)
    assert y[0] == (-jnp.inf if slope else 0)
    dy = jnp.arange(1.0, 8.0)
    np.testing.assert_allclose(transpose(dy)[0][:-1], dy[:-1] * jnp.asarray([slope] * 4 + [1, 1]), rtol=1e-7)


def test_a_linear_layer_is_a_product_in_value_and_gradient():
    rng = np.random.default_rng(0)
    x, weight = (jnp.asarray(rng.standard_normal((2, 3, 4, size)), jnp.float32) for size in (5, 6))
    layer = layers.dense(6, "fc", jnp.float32, jnp.float32)
    variables = layer.init(jax.random.key(0), x)

    def plain(params, x):
        return jnp.einsum("bthi,io->btho", x, params["kernel"]) + params["bias"].reshape(1, 1, 1, -1)

    def total(function):
        return lambda params, x: (function(params, x) * weight).sum()

    np.testing.assert_allclose(layer.apply(variables, x), plain(variables["params"], x), atol=1e-6)
    found = jax.grad(total(lambda params, x: layer.apply({"params": params}, x)), argnums=(0, 1))(
        variables["params"], x
    )
    expected = jax.grad(total(plain), argnums=(0, 1))(variables["params"], x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_narrow_input_is_normalised_in_float32():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 64)) + 30, jnp.bfloat16)
    weight = jnp.ones(64), jnp.zeros(64)
    y = layers.layer_norm(x, *weight, 1, 1e-6)
    assert y.dtype == jnp.bfloat16
    exact = plain_layer_norm(x.astype(jnp.float32), *weight, 1, 1e-6)
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_one_norm_for_several_inputs_has_one_weight():
    norm = layers.LayerNorm()
    inputs = jnp.arange(6.0).reshape(2, 3), jnp.arange(12.0).reshape(2, 2, 3)
    variables = norm.init(jax.random.key(0), *inputs)
    outputs = norm.apply(variables, *inputs)
    for y, x in zip(outputs, inputs, strict=True):
        np.testing.assert_array_equal(y, norm.apply(variables, x))


def test_initialisation_is_pyslowfasts():
    params = layers.Mlp(300, 200).init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    for layer in ("fc1", "fc2"):
        np.testing.assert_allclose(params[layer]["kernel"].std(), 0.02, rtol=0.02)
        np.testing.assert_array_equal(params[layer]["bias"], np.float32(0.02))
    params = layers.LayerNorm().init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    np.testing.assert_array_equal(params["scale"], 1)
    np.testing.assert_array_equal(params["bias"], np.float32(0.02))


def test_drop_path_keeps_the_mean_and_the_rate():
    rates = jnp.asarray([0.0, 0.25, 0.5])
    factors = layers.drop_path_factors(jax.random.key(0), rates, 4000)
    np.testing.assert_array_equal(factors[0], 1)
    np.testing.assert_allclose((factors == 0).mean(axis=1), rates, atol=0.03)
    np.testing.assert_allclose(factors.mean(axis=1), 1, atol=0.06)


def test_clips_are_scaled_one_by_one():
    x = jnp.ones((3, 2, 2))
    np.testing.assert_array_equal(layers.scale_clips(x, jnp.asarray([0.0, 1.0, 2.0]))[:, 0, 0], [0, 1, 2])
    assert layers.scale_clips(x, None) is x
