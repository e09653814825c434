"""Softmax attention inside windows of the grid, with a bias that all windows share and regions that do not mix.

As in dot_product_attention.py the weights are kept before they are divided by their sum, and the gradient of the
softmax takes the sum over keys from the output; the mask is computed from the tokens' regions, so no array of windows x
queries x keys is read for it.

Names of axes: B clips, W windows, heads, N tokens of a window (queries and keys), c width of a head.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

BETWEEN_REGIONS = -100.0
"""Added to the logit of two tokens of different regions, as published; the weight vanishes in float32."""

_BATCH = ((0, 1, 2), (0, 1, 2))


def _batched_dot(a: jax.Array, b: jax.Array, a_axis: int, b_axis: int) -> jax.Array:
    """Contracts one axis of each for every clip, window and head, in float32 or wider."""
    dtype = jnp.promote_types(a.dtype, jnp.float32)
    return lax.dot_general(a, b, (((a_axis,), (b_axis,)), _BATCH), preferred_element_type=dtype)


@jax.custom_vjp
def window_attend(
    queries: Float[Array, "B W heads N c"],
    keys: Float[Array, "B W heads N c"],
    values: Float[Array, "B W heads N c"],
    bias: Float[Array, "heads N N"],
    regions: Int[Array, "W N"] | None,
) -> Float[Array, "B W heads N c"]:
    """softmax(queries . keys + bias) values, with logits and softmax in float32; returns the values' dtype.

    The queries are already scaled. Tokens of different `regions` do not attend to one another; None is one region.
    """
    return _attend_forward(queries, keys, values, bias, regions)[0]


def _attend_forward(queries, keys, values, bias, regions):
    logits = _batched_dot(queries, keys, 4, 4)
    logits = logits + bias.astype(logits.dtype)[None, None]
    if regions is not None:
        differ = regions[:, :, None] != regions[:, None, :]
        logits = logits + jnp.where(differ, BETWEEN_REGIONS, 0.0).astype(logits.dtype)[None, :, None]
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(values.dtype)
    output = (_batched_dot(weights, values, 4, 3) / total).astype(values.dtype)
    return output, (queries, keys, values, bias, regions, weights, total, output)


def _sum_over_windows(x: Float[Array, "B W heads N N"]) -> Float[Array, "heads N N"]:
    """On a CPU a product with ones: XLA:CPU's sum of few long rows takes as long as the rest of the gradient."""

    def product(x: jax.Array) -> jax.Array:
        rows = x.reshape(x.shape[0] * x.shape[1], -1)
        return (jnp.ones((1, rows.shape[0]), x.dtype) @ rows).reshape(x.shape[2:])

    return lax.platform_dependent(x, cpu=product, default=lambda x: jnp.sum(x, axis=(0, 1)))


def _attend_backward(residuals, d_output):
    queries, keys, values, bias, _, weights, total, output = residuals
    scaled = d_output.astype(total.dtype) / total
    mean = jnp.sum(scaled * output.astype(total.dtype), axis=-1, keepdims=True)
    scaled = scaled.astype(values.dtype)
    d_values = _batched_dot(weights, scaled, 3, 3)
    d_logits = weights.astype(total.dtype) * (_batched_dot(scaled, values, 4, 4) - mean)
    d_bias = _sum_over_windows(d_logits).astype(bias.dtype)
    d_logits = d_logits.astype(keys.dtype)
    d_queries = _batched_dot(d_logits, keys, 4, 3).astype(queries.dtype)
    d_keys = _batched_dot(d_logits, queries, 3, 3).astype(keys.dtype)
    return d_queries, d_keys, d_values.astype(values.dtype), d_bias, None


window_attend.defvjp(_attend_forward, _attend_backward)
