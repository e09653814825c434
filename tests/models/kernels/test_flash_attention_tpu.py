"""The attention kernel in interpret mode: values and gradients of the operations that it replaces."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels.dot_product_attention import attend
from musclemap_jax.models.kernels.flash_attention_tpu import flash_attention, flash_attention_fits
from musclemap_jax.models.layers.layer_norm import layer_norm
from musclemap_jax.models.video.relative_position import (
    key_coordinates,
    position_embeddings,
    position_terms,
    table_length,
)

EPSILON = 1e-6


def heads_of(x, width):
    return x.reshape(*x.shape[:2], -1, width)


def plain(queries, tokens, keys, values, norms, *tables, grids):
    width, num_tokens = norms.shape[1], tokens.shape[1]
    params = [(norms[row], norms[row + 1]) for row in (0, 2, 4)]
    q, t, k, v = (
        layer_norm(heads_of(x, width), *params[index], 1, EPSILON)
        for x, index in ((queries, 0), (tokens, 0), (keys, 1), (values, 2))
    )
    terms = position_terms(q.reshape(q.shape[0], *grids[0], *q.shape[2:]), tables, grids[1])
    terms = [x.reshape(*q.shape[:3], -1) for x in terms]
    one_hot = jnp.pad(jnp.asarray(key_coordinates(grids[1]), q.dtype), ((num_tokens, 0), (0, 0)))
    extended = jnp.concatenate([q * width**-0.5, *terms], axis=-1)
    q_first, t_first, k_first, v_first = (x.swapaxes(1, 2) for x in (extended, t * width**-0.5, k, v))
    patches = attend(q_first, k_first, v_first, one_hot).swapaxes(1, 2) + q
    new_tokens = attend(t_first, k_first, v_first, one_hot[:, :0]).swapaxes(1, 2)
    return patches.reshape(queries.shape), new_tokens.reshape(tokens.shape)


def fused(queries, tokens, keys, values, norms, *tables, grids):
    embeddings = [position_embeddings(*sizes) for sizes in zip(tables, *grids, strict=True)]
    embeddings = jnp.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in embeddings]).astype(queries.dtype)
    settings = {"query_grid": grids[0], "key_grid": grids[1], "epsilon": EPSILON, "vmem_bytes": None}
    return flash_attention(queries, tokens, keys, values, norms, embeddings, **settings)


# Two blocks of queries, the second cut off; two groups of heads, with keys beyond one tile; the query grid of a stride.
@pytest.mark.parametrize(
    ("grids", "tokens", "heads", "width"),
    [(((2, 10, 15), (2, 5, 3)), 4, 2, 8), (((1, 6, 7), (4, 15, 15)), 1, 8, 128), (((3, 2, 2), (3, 4, 4)), 20, 1, 16)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-5), (jnp.bfloat16, 3e-2)])
def test_values_and_gradients_equal_the_plain_form(grids, tokens, heads, width, dtype, tolerance):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    rows = [math.prod(grids[0]), tokens, *[tokens + math.prod(grids[1])] * 2]
    arrays = [draw(2, size, heads * width).astype(dtype) for size in rows]
    cotangents = tuple(draw(*x.shape).astype(dtype) for x in arrays[:2])
    tables = [0.3 * draw(table_length(q, k), width) for q, k in zip(*grids, strict=True)]
    operands = (*arrays, draw(6, width), *tables)

    def evaluate(function, operands, cotangents):
        out, transpose = jax.vjp(lambda *a: function(*a, grids=grids), *operands)
        return *out, *transpose(cotangents)

    ours = jax.jit(lambda *a: evaluate(fused, *a))(operands, cotangents)
    exact = jax.tree.map(lambda x: x.astype(jnp.float32), (operands, cotangents))
    theirs = jax.jit(lambda *a: evaluate(plain, *a))(*exact)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=tolerance * float(jnp.abs(other).max()))


def test_keys_that_do_not_fit_into_vmem_are_refused():
    assert flash_attention_fits(1608, 8, 96, 1000, 128 << 20)
    assert not flash_attention_fits(1608, 8, 96, 1000, 16 << 20)
    assert not flash_attention_fits(432, 1, 96, 1000, 0)
