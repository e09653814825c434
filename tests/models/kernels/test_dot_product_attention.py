"""Attention and its custom gradient against plain softmax attention in float64 and its automatic gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels.dot_product_attention import attend

B, HEADS, Q, K, C, P = 2, 3, 7, 5, 8, 4


def plain(queries, keys, values, key_one_hot):
    """What `attend` is, as it is written in papers."""
    spread = jnp.broadcast_to(key_one_hot[None, None], (*keys.shape[:2], *key_one_hot.shape))
    logits = jnp.einsum("bhqc,bhkc->bhqk", queries, jnp.concatenate([keys, spread], axis=-1))
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(logits), values)


def operands(dtype, num_one_hot, scale=1.0):
    rng = np.random.default_rng(0)
    shapes = (B, HEADS, Q, C + num_one_hot), (B, HEADS, K, C), (B, HEADS, K, C), (K, num_one_hot)
    queries, keys, values, key_one_hot = (rng.standard_normal(shape) for shape in shapes)
    return tuple(jnp.asarray(x, dtype) for x in (queries * scale, keys, values, key_one_hot))


def value_and_gradients(function, arguments):
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((B, HEADS, Q, C)), arguments[0].dtype)

    def loss(queries, keys, values):
        output = function(queries, keys, values, arguments[3])
        return jnp.sum(output * weights), output

    gradients, output = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*arguments[:3])
    return [output, *gradients]


@pytest.mark.parametrize("num_one_hot", [0, P])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_values_and_gradients_are_those_of_softmax_attention(dtype, tolerance, num_one_hot):
    arguments = operands(dtype, num_one_hot)
    found = value_and_gradients(attend, arguments)
    with jax.enable_x64(True):
        wide = tuple(jnp.asarray(np.asarray(x, np.float64)) for x in arguments)
        expected = jax.device_get(value_and_gradients(plain, wide))
    for ours, reference in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(
            np.asarray(ours, np.float64), reference, rtol=0, atol=tolerance * abs(reference).max()
        )


def test_large_logits_neither_overflow_nor_lose_the_gradient():
    arguments = operands("float32", P, scale=100.0)
    found = value_and_gradients(attend, arguments)
    expected = value_and_gradients(plain, arguments)
    for ours, reference in zip(found, expected, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-4 * abs(reference).max())
