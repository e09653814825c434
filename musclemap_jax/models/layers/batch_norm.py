"""Batch normalisation over the global batch with PyTorch's running statistics, for the skeleton branch.

Source: Ioffe and Szegedy 2015; running statistics as torch.nn.BatchNorm keeps them (new = 0.9 old + 0.1 batch, with
the unbiased variance n / (n - 1)), which flax.linen.BatchNorm does not. Differs from both: features may lie on several
axes, so that the norms of equal layers run as one; the bias of a convolution before the norm, which the batch mean
cancels, only enters the running mean; and the gradient is written out, which saves passes over the input. Where the
program is mapped over devices, statistics are over all of them (sharding/mapped_axis.py).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from musclemap_jax.models.layers.initializers import Initializer
from musclemap_jax.models.layers.precision import upcast
from musclemap_jax.sharding.mapped_axis import mapped_axis, mapped_size, mean_over

MOMENTUM = 0.9
EPSILON = 1e-5


def _expand(statistic: jax.Array, feature_axes: tuple[int, ...], ndim: int) -> jax.Array:
    """Expands an array with one dimension for each feature axis to ndim dimensions, for broadcasting."""
    return jnp.expand_dims(statistic, _reduced_axes(feature_axes, ndim))


def _reduced_axes(feature_axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(ndim) if axis not in feature_axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalise_batch(
    x: Float[Array, "*shape"],
    scale: Float[Array, "*features"],
    bias: Float[Array, "*features"],
    feature_axes: tuple[int, ...],
    axis_name: str | None = None,
) -> tuple[Float[Array, "*shape"], Float[Array, "*features"], Float[Array, "*features"]]:
    """Normalises x by its own mean and (biased) variance; statistics are float32.

    Args:
      x: An array of any shape and float dtype.
      scale: float32, one dimension for each feature axis.
      bias: Like `scale`.
      feature_axes: The axes of x, ascending and not negative, that are not averaged over.
      axis_name: The axis of devices that hold equal parts of the batch; None if x is the whole batch.

    Returns:
      (y in the dtype of x, mean, variance); no gradient flows through mean and variance.
    """
    return _normalise_forward(x, scale, bias, feature_axes, axis_name)[0]


def _normalise_forward(x, scale, bias, feature_axes, axis_name):
    axes = _reduced_axes(feature_axes, x.ndim)
    values = upcast(x)
    mean = mean_over(axis_name, values.mean(axes))
    # Two passes: the mean of squares minus the square of the mean loses digits where the mean is large.
    centred = values - _expand(mean, feature_axes, x.ndim)
    variance = mean_over(axis_name, jnp.square(centred).mean(axes))
    rstd = jax.lax.rsqrt(variance + EPSILON)
    y = centred * _expand(rstd * scale, feature_axes, x.ndim) + _expand(bias, feature_axes, x.ndim)
    return (y.astype(x.dtype), mean, variance), (x, mean, rstd, scale)


def _normalise_backward(feature_axes, axis_name, residuals, cotangents):
    x, mean, rstd, scale = residuals
    axes = _reduced_axes(feature_axes, x.ndim)
    dy = cotangents[0].astype(mean.dtype)
    centred = x.astype(mean.dtype) - _expand(mean, feature_axes, x.ndim)
    count = x.size // mean.size
    d_bias = dy.sum(axes)
    d_scale = (dy * centred).sum(axes) * rstd
    # Scale and bias get this device's part of their gradients, which the trainer adds up like those of all parameters.
    offset = _expand(mean_over(axis_name, d_bias) / count, feature_axes, x.ndim)
    slope = _expand(mean_over(axis_name, d_scale) * rstd / count, feature_axes, x.ndim)
    dx = (dy - offset - centred * slope) * _expand(rstd * scale, feature_axes, x.ndim)
    return dx.astype(x.dtype), d_scale, d_bias


normalise_batch.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch norm with learned scale and bias; `shape` is that of the feature axes."""

    shape: tuple[int, ...]
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*shape"],
        feature_axes: tuple[int, ...],
        train: bool,
        input_bias: Float[Array, "*features"] | None = None,
    ) -> Float[Array, "*shape"]:
        """Normalises x + input_bias.

        Args:
          x: An array; if its batch is sharded, the statistics are those of the whole batch.
          feature_axes: The axes of x, ascending, whose sizes are `shape`; negative ones count from the end.
          train: True normalises by the batch and updates the running statistics (collection ``batch_stats``, which must
            then be mutable); False normalises by the running ones.
          input_bias: A bias of `shape` that has not been added to x.
        """
        scale = self.param("scale", self.scale_init, self.shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, self.shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, self.shape, jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, self.shape, jnp.float32)
        feature_axes = tuple(axis % x.ndim for axis in feature_axes)
        if not train:
            factor = jax.lax.rsqrt(running_variance.value + EPSILON) * scale
            mean = running_mean.value if input_bias is None else running_mean.value - input_bias
            centred = upcast(x) - _expand(mean, feature_axes, x.ndim)
            y = centred * _expand(factor, feature_axes, x.ndim) + _expand(bias, feature_axes, x.ndim)
            return y.astype(x.dtype)
        axis_name = mapped_axis()
        y, mean, variance = normalise_batch(x, scale, bias, feature_axes, axis_name)
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            count = x.size // mean.size * mapped_size(axis_name)
            if input_bias is not None:
                mean = mean + input_bias
            unbiased = variance * (count / max(count - 1, 1))
            for running, batch in ((running_mean, mean), (running_variance, unbiased)):
                running.value = MOMENTUM * running.value + (1 - MOMENTUM) * jax.lax.stop_gradient(batch)
        return y
