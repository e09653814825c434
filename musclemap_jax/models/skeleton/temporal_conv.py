"""Multi-scale temporal convolution of HD-GCN: four branches of a quarter of the width each.

Source: HD-GCN's published code (from MS-G3D). Two dilated convolutions, a max-pool and a 1x1 convolution, batch norms
scaled by N(1, 0.02) at the start. We run the branches' 1x1 convolutions and their norms as one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul
from musclemap_jax.models.layers.layers import relu
from musclemap_jax.models.layers.maximum import larger
from musclemap_jax.models.skeleton.edge_conv import fan_out_normal

NUM_BRANCHES = 4
POOL_WINDOW = 3


def scale_near_one(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Initialises the scales of the temporal part's batch norms: N(1, 0.02)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def _window(x: jax.Array, offset: int, stride: int, reach: int, fill: float) -> jax.Array:
    """Takes every stride-th pose of (C, V, T, N), moved by offset - reach poses; `fill` beyond the ends."""
    num_frames = x.shape[2]
    padded = jnp.pad(x, ((0, 0), (0, 0), (reach, reach), (0, 0)), constant_values=fill)
    return jax.lax.slice_in_dim(padded, offset, offset + num_frames, stride, axis=2)


def temporal_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves (C, V, T, N) by kernel (taps, C, C') over time, padded by the kernel's reach on both sides.

    The padding is explicit: 'SAME' pads another side at stride 2. Written as one product with the shifted inputs side
    by side, which needs no transposes.
    """
    taps, width, features = kernel.shape
    reach = (taps - 1) * dilation // 2
    shifted = [_window(x, tap * dilation, stride, reach, 0) for tap in range(taps)]
    return channel_matmul(kernel.reshape(taps * width, features), jnp.concatenate(shifted))


def temporal_max_pool(x: jax.Array, stride: int) -> jax.Array:
    """Takes the maximum of (C, V, T, N) over windows of three poses; beyond the ends nothing counts."""
    return functools.reduce(larger, [_window(x, tap, stride, 1, -jnp.inf) for tap in range(POOL_WINDOW)])


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3))
def temporal_branches(
    hidden: jax.Array, kernel: jax.Array, stride: int, dilations: Sequence[int]
) -> tuple[jax.Array, jax.Array]:
    """The branches that look along time; the backward pass shifts poses anew and keeps no shifted copies.

    Args:
      hidden: (K + 1, C, V, T, N), the input of K convolutions and of the max-pool.
      kernel: (K, taps, C, C).
      stride: of all.
      dilations: of the convolutions.

    Returns:
      (K, C, V, T', N) and (C, V, T', N).
    """
    convolved = [
        temporal_conv(hidden[branch], kernel[branch], stride, dilation) for branch, dilation in enumerate(dilations)
    ]
    return jnp.stack(convolved), temporal_max_pool(hidden[-1], stride)


class MultiScaleTemporalConv(nn.Module):
    """Four temporal branches, concatenated in the order of `dilations`, max-pool, 1x1.

    Attributes:
      stride: temporal stride; T' = ceil(T / stride).
      kernel_size: taps of the dilated convolutions.
      dilations: of the first two branches.
      dtype: dtype of the computation.
    """

    stride: int = 1
    kernel_size: int = 5
    dilations: tuple[int, int] = (1, 2)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (C, V, T, N) to (C, V, T', N); `train` as in BatchNorm."""
        width = x.shape[0]
        quarter = width // NUM_BRANCHES
        kernel = self.param("reduce_kernel", fan_out_normal(quarter), (NUM_BRANCHES, width, quarter), jnp.float32)
        bias = self.param("reduce_bias", nn.initializers.zeros, (NUM_BRANCHES, quarter), jnp.float32)
        kernel = kernel.astype(self.dtype)
        norm = BatchNorm((NUM_BRANCHES - 1, quarter), scale_near_one, name="reduce_norm")
        point_norm = BatchNorm((quarter,), scale_near_one, name="point_norm")

        together = kernel[:-1].swapaxes(0, 1).reshape(width, -1)
        hidden = channel_matmul(together, x).reshape(-1, quarter, *x.shape[1:])
        hidden = relu(norm(hidden, (0, 1), train, bias[:-1]))
        point = channel_matmul(kernel[-1], x[:, :, :: self.stride])
        point = point_norm(point, (0,), train, bias[-1])

        shape = (len(self.dilations), self.kernel_size, quarter, quarter)
        conv_kernel = self.param("conv_kernel", fan_out_normal(quarter * self.kernel_size), shape, jnp.float32)
        conv_bias = self.param("conv_bias", nn.initializers.zeros, (len(self.dilations), quarter), jnp.float32)
        convolved, pooled = temporal_branches(hidden, conv_kernel.astype(self.dtype), self.stride, self.dilations)
        conv_norm = BatchNorm((len(self.dilations), quarter), scale_near_one, name="conv_norm")
        convolved = conv_norm(convolved, (0, 1), train, conv_bias)
        pooled = BatchNorm((quarter,), scale_near_one, name="pool_norm")(pooled, (0,), train)
        return jnp.concatenate([*convolved, pooled, point])
