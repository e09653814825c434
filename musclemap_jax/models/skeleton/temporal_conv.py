"""Multi-scale temporal convolution of HD-GCN: four branches of a quarter of the width each.

Source: HD-GCN's published code (from MS-G3D). Two dilated convolutions, a max-pool and a 1x1 convolution, batch norms
whose scales start at N(1, 0.02). We run the branches' 1x1 convolutions and their norms as one.

Letters of shapes: D width, V joints, T poses, BP skeletons (clips times persons); 2 marks the output.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul
from musclemap_jax.models.layers.initializers import fan_out_normal
from musclemap_jax.models.layers.robust_max import robust_maximum

NUM_BRANCHES = 4
POOL_WINDOW = 3


def scale_near_one(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Initialises the scales of the temporal convolution's batch norms: N(1, 0.02)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def _shift_frames(x: jax.Array, offset: int, stride: int, reach: int, fill: float) -> jax.Array:
    """Takes every stride-th pose of (D, V, T, BP), shifted by offset - reach poses; `fill` beyond the ends."""
    num_frames = x.shape[2]
    padded = jnp.pad(x, ((0, 0), (0, 0), (reach, reach), (0, 0)), constant_values=fill)
    return jax.lax.slice_in_dim(padded, offset, offset + num_frames, stride, axis=2)


def temporal_conv(
    x: Float[Array, "D V T BP"], kernel: Float[Array, "taps D D2"], stride: int, dilation: int
) -> Float[Array, "D2 V T2 BP"]:
    """Convolves over time, padded by the kernel's reach on both sides.

    The padding is explicit: 'SAME' pads the other side at stride 2. Computed as one product with the concatenated
    shifted inputs, which needs no transposes.
    """
    taps, width, features = kernel.shape
    reach = (taps - 1) * dilation // 2
    shifted = [_shift_frames(x, tap * dilation, stride, reach, 0) for tap in range(taps)]
    return channel_matmul(kernel.reshape(taps * width, features), jnp.concatenate(shifted))


def temporal_max_pool(x: Float[Array, "D V T BP"], stride: int) -> Float[Array, "D V T2 BP"]:
    """Takes the maximum over windows of three poses; what lies beyond the ends is ignored."""
    return functools.reduce(robust_maximum, [_shift_frames(x, tap, stride, 1, -jnp.inf) for tap in range(POOL_WINDOW)])


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3))
def temporal_branches(
    hidden: Float[Array, "branches D V T BP"],
    kernel: Float[Array, "branches-1 taps D D"],
    stride: int,
    dilations: Sequence[int],
) -> tuple[Float[Array, "branches-1 D V T2 BP"], Float[Array, "D V T2 BP"]]:
    """The convolutions and, on the last of `hidden`, the max-pool: the branches that span several poses.

    The backward pass recomputes the shifted copies instead of keeping them.
    """
    convolved = [temporal_conv(hidden[index], kernel[index], stride, by) for index, by in enumerate(dilations)]
    return jnp.stack(convolved), temporal_max_pool(hidden[-1], stride)


class MultiScaleTemporalConv(nn.Module):
    """Four temporal branches, concatenated: two dilated convolutions, max-pool, 1x1; T2 = ceil(T / stride)."""

    stride: int = 1
    kernel_size: int = 5
    dilations: tuple[int, int] = (1, 2)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "D V T BP"], train: bool) -> Float[Array, "D V T2 BP"]:
        """Applies the convolution; `train` as in BatchNorm."""
        width = x.shape[0]
        quarter = width // NUM_BRANCHES
        kernel = self.param("reduce_kernel", fan_out_normal(quarter), (NUM_BRANCHES, width, quarter), jnp.float32)
        bias = self.param("reduce_bias", nn.initializers.zeros, (NUM_BRANCHES, quarter), jnp.float32)
        kernel = kernel.astype(self.dtype)
        norm = BatchNorm((NUM_BRANCHES - 1, quarter), scale_near_one, name="reduce_norm")
        point_norm = BatchNorm((quarter,), scale_near_one, name="point_norm")

        joint_kernel = kernel[:-1].swapaxes(0, 1).reshape(width, -1)
        hidden = channel_matmul(joint_kernel, x).reshape(-1, quarter, *x.shape[1:])
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
