"""The attention kernel in interpret mode: values and gradients of plain attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels.flash_attention_tpu import flash_attention, flash_attention_fits


def plain(queries, terms, keys, values, key_one_hot):
    logits = jnp.einsum("bnhc,bkhc->bhnk", queries, keys) * queries.shape[-1] ** -0.5
    logits += jnp.einsum("bnhe,ke->bhnk", terms, key_one_hot)
    return jnp.einsum("bhnk,bkhc->bnhc", jax.nn.softmax(logits, axis=-1), values) + queries


# Two blocks of queries of which one is padded; two groups of heads, with keys beyond one tile.
@pytest.mark.parametrize(("num_queries", "num_keys", "heads", "width"), [(300, 21, 2, 8), (40, 900, 8, 128)])
def test_values_and_gradients_equal_the_plain_form(num_queries, num_keys, heads, width):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    queries, keys, values = (draw(2, size, heads, width) for size in (num_queries, num_keys, num_keys))
    operands = (queries, draw(2, num_queries, heads, 5), keys, values)
    key_one_hot, cotangent = draw(num_keys, 5), draw(*queries.shape)

    def evaluate(function):
        out, transpose = jax.vjp(function, *operands)
        return out, *transpose(cotangent)

    ours = jax.jit(lambda: evaluate(lambda *a: flash_attention(*a, key_one_hot, vmem_bytes=None)))()
    theirs = jax.jit(lambda: evaluate(lambda *a: plain(*a, key_one_hot)))()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * float(jnp.abs(other).max()))


def test_keys_that_do_not_fit_into_vmem_are_refused():
    assert flash_attention_fits(1608, 8, 96, 128 << 20)
    assert not flash_attention_fits(1608, 8, 96, 16 << 20)
    assert not flash_attention_fits(432, 1, 96, 0)
