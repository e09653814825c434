"""Layers that several models share: layer norm, exact GELU, ReLU, linear layer, MLP and stochastic depth.

Initialisation is PySlowFast's (`slowfast/models/video_model_builder.py`). Layer norm and GELU have a VJP of their own
that keeps the input and recomputes the rest, ReLU one that keeps the output, which what follows keeps anyway:
automatic differentiation writes several arrays of the input's size, which costs memory traffic on every platform, and
many more kernels to compile on CPU.

Letters of shapes: B clips, D width.
"""

from __future__ import annotations

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from musclemap_jax.sharding.context import platform

WEIGHT_INIT = nn.initializers.normal(0.02)
"""PySlowFast's trunc_normal_(std=0.02) cuts at +-2, a hundred deviations: a plain normal distribution."""

BIAS_INIT = nn.initializers.constant(0.02)
"""Bias of linear layers and layer norms at the start, as in PySlowFast."""


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of statistics of arrays of `dtype`: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def _widened(x: jax.Array) -> jax.Array:
    return x.astype(at_least_float32(x.dtype))


def kept_whole(x: jax.Array) -> jax.Array:
    """x itself, in a form that ends a chain of elementwise operations on a CPU.

    XLA:CPU hands such chains to YNNPACK, together with the products and reductions around them. YNNPACK knows neither
    slices nor scalars: it writes all 27 shifted copies of a depthwise convolution, and arrays full of a GELU's
    constants. It knows no selection either, so what stands before it is compiled as one loop. On other platforms there
    is nothing to end.
    """
    return lax.platform_dependent(x, cpu=lambda x: jnp.where(jnp.isnan(x), jnp.nan, x), default=lambda x: x)


def _normalised(x: jax.Array, num_axes: int, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """(x - mean) / deviation in float32 or wider, and 1 / deviation, over the last axes."""
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    x = _widened(x)
    centred = x - jnp.mean(x, axis=axes, keepdims=True)
    inverse = lax.rsqrt(jnp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _like(weight: jax.Array, x: jax.Array) -> jax.Array:
    return _widened(weight).reshape((1,) * (x.ndim - weight.ndim) + weight.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, num_axes: int, epsilon: float) -> jax.Array:
    """Normalises the last axes to mean 0 and variance 1, in float32 also where x is narrower.

    Args:
      x: (..., D) for one axis, (..., M, D) for two.
      scale: shape of the last axes of x; may have more axes than are normalised.
      bias: the same.
      num_axes: how many axes are normalised together.
      epsilon: added to the variance.

    Returns:
      x's shape and dtype.
    """
    y, _ = _normalised(x, num_axes, epsilon)
    return (y * _like(scale, x) + _like(bias, x)).astype(x.dtype)


def _layer_norm_forward(x, scale, bias, num_axes, epsilon):
    return layer_norm(x, scale, bias, num_axes, epsilon), (x, scale, bias)


def _layer_norm_backward(num_axes, epsilon, saved, dy):
    x, scale, bias = saved
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    y, inverse = _normalised(x, num_axes, epsilon)
    dy = _widened(dy)
    sent = dy * _like(scale, x)
    mean = jnp.mean(sent, axis=axes, keepdims=True)
    slope = jnp.mean(sent * y, axis=axes, keepdims=True)
    dx = inverse * (sent - mean - y * slope)
    rows = tuple(range(x.ndim - scale.ndim))
    d_scale, d_bias = jnp.sum(dy * y, axis=rows), jnp.sum(dy, axis=rows)
    return dx.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class NormWeights(nn.Module):
    """The parameters `scale` and `bias` of a layer norm, for callers that normalise several arrays at once."""

    shape: tuple[int, ...]
    param_dtype: jnp.dtype = jnp.float32
    bias_init: nn.initializers.Initializer = BIAS_INIT

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        scale = self.param("scale", nn.initializers.ones, self.shape, self.param_dtype)
        return scale, self.param("bias", self.bias_init, self.shape, self.param_dtype)


class LayerNorm(nn.Module):
    """Layer norm with learned `scale` and `bias`; statistics in float32.

    Attributes:
      num_axes: how many of the last axes are normalised together, each with a weight of its own.
      epsilon: added to the variance.
      bias_init: of the bias.
      dtype: of the result.
      param_dtype: of the parameters.
    """

    num_axes: int = 1
    epsilon: float = 1e-6
    bias_init: nn.initializers.Initializer = BIAS_INIT
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array | tuple[jax.Array, ...]:
        """Normalises each input (..., D) with the same weights; one array for one input, else a tuple."""
        shape = inputs[0].shape[inputs[0].ndim - self.num_axes :]
        scale = self.param("scale", nn.initializers.ones, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, shape, self.param_dtype)
        outputs = tuple(layer_norm(x.astype(self.dtype), scale, bias, self.num_axes, self.epsilon) for x in inputs)
        return outputs[0] if len(inputs) == 1 else outputs


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """Exact GELU, x times the normal distribution function, computed in float32 or wider; dtype of x."""
    return kept_whole(_widened(x) * _normal_cdf(x)).astype(x.dtype)


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + lax.erf(_widened(x) * math.sqrt(0.5)))


def _gelu_forward(x):
    return gelu(x), x


def _gelu_backward(x, dy):
    wide = _widened(x)
    density = jnp.exp(-0.5 * wide * wide) * (1.0 / math.sqrt(2.0 * math.pi))
    return ((_widened(dy) * (_normal_cdf(x) + wide * density)).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu(x: jax.Array, slope: float = 0.0) -> jax.Array:
    """x where it is positive, else x times the slope, in [0, 1); the gradient at 0 is the slope, as torch's."""
    return jnp.maximum(x, x * slope if slope else 0)


def _relu_forward(x, slope):
    y = relu(x, slope)
    return y, y


def _relu_backward(slope, y, dy):
    return (jnp.where(y > 0, dy, dy * slope),)


relu.defvjp(_relu_forward, _relu_backward)


def rows_product(x: jax.Array, kernel: jax.Array, dimension_numbers: lax.DotDimensionNumbers, **settings) -> jax.Array:
    """`lax.dot_general` of the last axis of x (..., I) with a kernel (I, O), as a linear layer asks for it: (..., O).

    On CPU x is taken as a matrix of rows: where a product's gradient sums over several axes, XLA:CPU (jax 0.10.2)
    transposes the large operand in memory first.
    """
    if platform() != "cpu":
        return lax.dot_general(x, kernel, dimension_numbers, **settings)
    y = lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **settings)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def dense(features: int, name: str, dtype: jnp.dtype, param_dtype: jnp.dtype, use_bias: bool = True) -> nn.Dense:
    """A linear layer with PySlowFast's initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=param_dtype,
        kernel_init=WEIGHT_INIT,
        bias_init=BIAS_INIT,
        dot_general=rows_product,
        name=name,
    )


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    hidden: int
    features: int
    dropout_rate: float = 0.0
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, *inputs: jax.Array, train: bool = False) -> tuple[jax.Array, ...]:
        """Applies the same layers to each input (..., D); returns as many outputs (..., features)."""
        first = dense(self.hidden, "fc1", self.dtype, self.param_dtype)
        second = dense(self.features, "fc2", self.dtype, self.param_dtype)
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        return tuple(drop(second(drop(gelu(first(x))))) for x in inputs)


def drop_path_factors(rng: jax.Array, rates: jax.Array, batch_size: int) -> jax.Array:
    """Stochastic depth: what each residual branch is multiplied by, one draw a branch and clip.

    Args:
      rng: key.
      rates: (...,) chance in [0, 1) that a clip skips the branch.
      batch_size: B.

    Returns:
      (..., B) float32 of 0 or 1 / (1 - rate).
    """
    keep = jnp.broadcast_to((1.0 - rates)[..., None], (*rates.shape, batch_size))
    return jax.random.bernoulli(rng, keep).astype(jnp.float32) / keep


def scale_clips(x: jax.Array, factor: jax.Array | None) -> jax.Array:
    """Multiplies each clip of x (B, ...) by its factor (B,); None leaves x as it is."""
    if factor is None:
        return x
    return x * factor.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
