"""Batch normalisation over the global batch with torch's running statistics, for the skeleton branch.

Source: Ioffe and Szegedy 2015; running statistics as torch.nn.BatchNorm keeps them (new = 0.9 old + 0.1 batch, with
the unbiased variance n / (n - 1)), which flax.linen.BatchNorm does not. Differs from both: features may lie on several
axes, so that the norms of equal layers run as one; the bias of a convolution before the norm, which the batch mean
takes away again, only enters the running mean; and the gradient is written out, which saves passes over the input.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.layers.layers import at_least_float32

MOMENTUM = 0.9
EPSILON = 1e-5


def _along(statistic: jax.Array, feature_axes: tuple[int, ...], ndim: int) -> jax.Array:
    """Spreads an array with one dimension a feature axis to ndim dimensions, for broadcasting."""
    return jnp.expand_dims(statistic, [axis for axis in range(ndim) if axis not in feature_axes])


def _reduced_axes(feature_axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(ndim) if axis not in feature_axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, feature_axes: tuple[int, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises x by its own mean and (biased) variance; statistics in float32.

    Args:
      x: any shape and float dtype.
      scale: float32, one dimension for each feature axis, in ascending order.
      bias: as scale.
      feature_axes: axes of x, ascending and not negative, that are not averaged over.

    Returns:
      (y in the dtype of x, mean, variance); no gradient flows through mean and variance.
    """
    return _normalise_forward(x, scale, bias, feature_axes)[0]


def _normalise_forward(x, scale, bias, feature_axes):
    axes = _reduced_axes(feature_axes, x.ndim)
    values = x.astype(at_least_float32(x.dtype))
    mean = values.mean(axes)
    # Two passes: the mean of squares less the square of the mean loses digits where the mean is large.
    variance = jnp.square(values - _along(mean, feature_axes, x.ndim)).mean(axes)
    rstd = jax.lax.rsqrt(variance + EPSILON)
    centred = values - _along(mean, feature_axes, x.ndim)
    y = centred * _along(rstd * scale, feature_axes, x.ndim) + _along(bias, feature_axes, x.ndim)
    return (y.astype(x.dtype), mean, variance), (x, mean, rstd, scale)


def _normalise_backward(feature_axes, residuals, cotangents):
    x, mean, rstd, scale = residuals
    axes = _reduced_axes(feature_axes, x.ndim)
    gradient = cotangents[0].astype(mean.dtype)
    centred = x.astype(mean.dtype) - _along(mean, feature_axes, x.ndim)
    count = x.size // mean.size
    bias_gradient = gradient.sum(axes)
    scale_gradient = (gradient * centred).sum(axes) * rstd
    offset = bias_gradient / count
    slope = scale_gradient * rstd / count
    x_gradient = (
        gradient - _along(offset, feature_axes, x.ndim) - centred * _along(slope, feature_axes, x.ndim)
    ) * _along(rstd * scale, feature_axes, x.ndim)
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


normalise_batch.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch norm with learned scale and bias.

    Attributes:
      shape: sizes of the feature axes.
      scale_init: initialiser of the scale.
    """

    shape: tuple[int, ...]
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(
        self, x: jax.Array, feature_axes: tuple[int, ...], train: bool, input_bias: jax.Array | None = None
    ) -> jax.Array:
        """Normalises x + input_bias.

        Args:
          x: float array; over a sharded batch the statistics are those of the whole batch.
          feature_axes: the axes of x, ascending, whose sizes are `shape`; negative ones count from the end.
          train: True normalises by the batch and moves the running statistics (collection ``batch_stats``, which must
            then be mutable); False normalises by the running ones.
          input_bias: bias of `shape` that x still lacks.

        Returns:
          An array like x.
        """
        scale = self.param("scale", self.scale_init, self.shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, self.shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, self.shape, jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, self.shape, jnp.float32)
        feature_axes = tuple(axis % x.ndim for axis in feature_axes)
        if not train:
            factor = jax.lax.rsqrt(running_variance.value + EPSILON) * scale
            mean = running_mean.value if input_bias is None else running_mean.value - input_bias
            centred = x.astype(at_least_float32(x.dtype)) - _along(mean, feature_axes, x.ndim)
            y = centred * _along(factor, feature_axes, x.ndim) + _along(bias, feature_axes, x.ndim)
            return y.astype(x.dtype)
        y, mean, variance = normalise_batch(x, scale, bias, feature_axes)
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            count = x.size // mean.size
            if input_bias is not None:
                mean = mean + jax.lax.stop_gradient(input_bias)
            unbiased = variance * (count / max(count - 1, 1))
            running_mean.value = MOMENTUM * running_mean.value + (1 - MOMENTUM) * jax.lax.stop_gradient(mean)
            running_variance.value = MOMENTUM * running_variance.value + (1 - MOMENTUM) * jax.lax.stop_gradient(
                unbiased
            )
        return y
