"""Multi-scale temporal convolution of HD-GCN: four branches of a quarter of the width each.

Source: HD-GCN's published code (from MS-G3D). Two dilated convolutions, a max-pool and a 1x1 convolution, batch norms
scaled by N(1, 0.02) at the start. We run the branches' 1x1 convolutions and their norms as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.batch_norm import BatchNorm
from musclemap_jax.models.edge_conv import fan_out_normal

NUM_BRANCHES = 4
POOL_WINDOW = 3


def scale_near_one(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Initialises the scales of the temporal part's batch norms: N(1, 0.02)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def temporal_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves (R, T, C) by kernel (taps, C, C') over time, padded by the kernel's reach on both sides.

    The padding is explicit: 'SAME' pads another side at stride 2.
    """
    reach = (kernel.shape[0] - 1) * dilation // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride,),
        padding=((reach, reach),),
        rhs_dilation=(dilation,),
        dimension_numbers=("NHC", "HIO", "NHC"),
    )


def temporal_max_pool(x: jax.Array, stride: int) -> jax.Array:
    """Takes the maximum of (..., T, C) over windows of three frames; beyond the ends nothing counts."""
    num_frames = x.shape[-2]
    padding = [(0, 0)] * (x.ndim - 2) + [(1, 1), (0, 0)]
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    shifted = [
        jax.lax.slice_in_dim(padded, tap, tap + num_frames, stride, axis=x.ndim - 2) for tap in range(POOL_WINDOW)
    ]
    return jnp.maximum(jnp.maximum(shifted[0], shifted[1]), shifted[2])


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
        """Maps (V, N, T, C) to (V, N, T', C); `train` as in BatchNorm."""
        width = x.shape[-1]
        quarter = width // NUM_BRANCHES
        kernel = self.param("reduce_kernel", fan_out_normal(quarter), (NUM_BRANCHES, width, quarter), jnp.float32)
        bias = self.param("reduce_bias", nn.initializers.zeros, (NUM_BRANCHES, quarter), jnp.float32)
        kernel = kernel.astype(self.dtype)
        norm = BatchNorm((NUM_BRANCHES - 1, quarter), scale_near_one, name="reduce_norm")
        point_norm = BatchNorm((quarter,), scale_near_one, name="point_norm")

        hidden = jnp.einsum("vntc,bcd->vntbd", x, kernel[:-1])
        hidden = nn.relu(norm(hidden, (-2, -1), train, bias[:-1]))
        point = x[:, :, :: self.stride] @ kernel[-1]
        point = point_norm(point, (-1,), train, bias[-1])

        convolved = self._dilated(hidden[..., :-1, :], train)
        pooled = temporal_max_pool(hidden[..., -1, :], self.stride)
        pooled = BatchNorm((quarter,), scale_near_one, name="pool_norm")(pooled, (-1,), train)
        return jnp.concatenate([convolved, pooled, point], axis=-1)

    def _dilated(self, hidden: jax.Array, train: bool) -> jax.Array:
        """Convolves (V, N, T, 2, C / 4), each branch with its dilation, to (V, N, T', C / 2)."""
        num_joints, num_skeletons, num_frames, num_convs, quarter = hidden.shape
        shape = (num_convs, self.kernel_size, quarter, quarter)
        kernel = self.param("conv_kernel", fan_out_normal(quarter * self.kernel_size), shape, jnp.float32)
        bias = self.param("conv_bias", nn.initializers.zeros, (num_convs, quarter), jnp.float32)
        rows = hidden.reshape(-1, num_frames, num_convs, quarter)
        outputs = [
            temporal_conv(rows[:, :, branch], kernel[branch].astype(self.dtype), self.stride, dilation)
            for branch, dilation in enumerate(self.dilations)
        ]
        y = jnp.stack(outputs, axis=-2).reshape(num_joints, num_skeletons, -1, num_convs, quarter)
        y = BatchNorm((num_convs, quarter), scale_near_one, name="conv_norm")(y, (-2, -1), train, bias)
        return y.reshape(*y.shape[:-2], num_convs * quarter)
