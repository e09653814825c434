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

from musclemap_jax.models.batch_norm import BatchNorm
from musclemap_jax.models.edge_conv import fan_out_normal
from musclemap_jax.models.maximum import larger
from musclemap_jax.models.mixing import mix_channels

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
    return mix_channels(kernel.reshape(1, taps * width, features), jnp.concatenate(shifted)[None])[0]


def temporal_max_pool(x: jax.Array, stride: int) -> jax.Array:
    """Takes the maximum of (C, V, T, N) over windows of three poses; beyond the ends nothing counts."""
    return functools.reduce(larger, [_window(x, tap, stride, 1, -jnp.inf) for tap in range(POOL_WINDOW)])


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

        together = kernel[:-1].swapaxes(0, 1).reshape(1, width, -1)
        hidden = mix_channels(together, x[None]).reshape(-1, quarter, *x.shape[1:])
        hidden = nn.relu(norm(hidden, (0, 1), train, bias[:-1]))
        point = mix_channels(kernel[-1:], x[None, :, :, :: self.stride])[0]
        point = point_norm(point, (0,), train, bias[-1])

        convolved = self._dilated(hidden[:-1], train)
        pooled = temporal_max_pool(hidden[-1], self.stride)
        pooled = BatchNorm((quarter,), scale_near_one, name="pool_norm")(pooled, (0,), train)
        return jnp.concatenate([*convolved, pooled, point])

    def _dilated(self, hidden: jax.Array, train: bool) -> jax.Array:
        """Convolves (2, C / 4, V, T, N), each branch with its dilation, to (2, C / 4, V, T', N)."""
        num_convs, quarter = hidden.shape[:2]
        shape = (num_convs, self.kernel_size, quarter, quarter)
        kernel = self.param("conv_kernel", fan_out_normal(quarter * self.kernel_size), shape, jnp.float32)
        bias = self.param("conv_bias", nn.initializers.zeros, (num_convs, quarter), jnp.float32)
        kernel = kernel.astype(self.dtype)
        outputs = [
            temporal_conv(hidden[branch], kernel[branch], self.stride, dilation)
            for branch, dilation in enumerate(self.dilations)
        ]
        norm = BatchNorm((num_convs, quarter), scale_near_one, name="conv_norm")
        return norm(jnp.stack(outputs), (0, 1), train, bias)
