"""The MLP kernels in interpret mode: values and gradients of the layers that they replace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.kernels.fused_mlp_tpu import fused_mlp, fused_mlp_fits
from musclemap_jax.models.layers.activations import gelu
from musclemap_jax.models.layers.layer_norm import layer_norm

EPSILON = 1e-6


def plain(x, factor, norm_scale, norm_bias, fc1_kernel, fc1_bias, fc2_kernel, fc2_bias):
    normed = layer_norm(x, norm_scale, norm_bias, 1, EPSILON)
    hidden = gelu(normed @ fc1_kernel.astype(x.dtype) + fc1_bias.astype(x.dtype)[None, None])
    update = hidden @ fc2_kernel.astype(x.dtype) + fc2_bias.astype(x.dtype)[None, None]
    return x + update * factor.astype(x.dtype)[:, None, None]


def evaluate(function, x, factor, params, cotangent):
    out, transpose = jax.vjp(lambda x, *params: function(x, factor, *params), x, *params)
    return out, *transpose(cotangent)


# One block that is cut off; two blocks, the last cut off, and two chunks of hidden channels; one token.
@pytest.mark.parametrize(("tokens", "width", "hidden"), [(20, 16, 128), (300, 32, 1024), (1, 16, 128)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_values_and_gradients_equal_the_layers(tokens, width, hidden, dtype, tolerance):
    rng = np.random.default_rng(0)

    def draw(*shape, scale=1.0):
        return jnp.asarray(rng.standard_normal(shape) * scale, jnp.float32)

    x, cotangent = (draw(2, tokens, width).astype(dtype) for _ in range(2))
    params = (1 + draw(width), draw(width), draw(width, hidden, scale=width**-0.5), draw(hidden))
    params += (draw(hidden, width, scale=hidden**-0.5), draw(width))
    factor = jnp.asarray([1.25, 0.5])

    ours = jax.jit(lambda *a: evaluate(lambda *b: fused_mlp(*b, epsilon=EPSILON, vmem_bytes=None), *a))
    theirs = jax.jit(lambda *a: evaluate(plain, *a))
    exact = theirs(x.astype(jnp.float32), factor, params, cotangent.astype(jnp.float32))
    for one, other in zip(ours(x, factor, params, cotangent), exact, strict=True):
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=tolerance * float(jnp.abs(other).max()))


def test_weights_that_do_not_fit_into_vmem_or_tiles_are_refused():
    assert fused_mlp_fits(768, 3072, 128 << 20)
    assert not fused_mlp_fits(768, 3072, 32 << 20)
    assert not fused_mlp_fits(96, 384, 0)
    assert not fused_mlp_fits(96, 320, 128 << 20)
    assert not fused_mlp_fits(24, 128, 128 << 20)
