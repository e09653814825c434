"""GELU and ReLU: values and gradients by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.layers.activations import gelu, relu


def test_gelu_and_its_gradient():
    x = jnp.linspace(-6, 6, 41, dtype=jnp.float32)
    exact = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()]
    np.testing.assert_allclose(gelu(x), exact, atol=1e-6)
    step = 1e-3
    numeric = [
        (b * (1 + math.erf(b / math.sqrt(2))) - a * (1 + math.erf(a / math.sqrt(2)))) / (4 * step)
        for a, b in ((value - step, value + step) for value in x.tolist())
    ]
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu))(x), numeric, atol=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_relu_and_its_gradient(slope):
    x = jnp.asarray([-jnp.inf, -3.0, -1e-3, 0.0, 1e-3, 3.0, jnp.nan])
    y, transpose = jax.vjp(lambda x: relu(x, slope), x)
    np.testing.assert_allclose(y[1:], jax.nn.leaky_relu(x, slope)[1:], rtol=1e-7)
    assert y[0] == (-jnp.inf if slope else 0)
    dy = jnp.arange(1.0, 8.0)
    np.testing.assert_allclose(transpose(dy)[0][:-1], dy[:-1] * jnp.asarray([slope] * 4 + [1, 1]), rtol=1e-7)
