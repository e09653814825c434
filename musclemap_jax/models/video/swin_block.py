"""Patch embedding and blocks of Video Swin; source and letters of shapes as in swin.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.kernels.window_attention import window_attend
from musclemap_jax.models.layers.activations import gelu
from musclemap_jax.models.layers.drop_path import scale_clips
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.linear import flattened_dot_general
from musclemap_jax.models.video.windows import Windows, relative_bias, table_rows
from musclemap_jax.sharding.activation_sharding import constrain_clips

MLP_RATIO = 4
WEIGHT_INIT = nn.initializers.truncated_normal(0.02)
NORM_EPSILON = 1e-5


def linear(features: int, name: str, dtype: DTypeLike, use_bias: bool = True) -> nn.Dense:
    return nn.Dense(features, use_bias, dtype, kernel_init=WEIGHT_INIT, dot_general=flattened_dot_general, name=name)


def norm(name: str, dtype: DTypeLike) -> LayerNorm:
    return LayerNorm(epsilon=NORM_EPSILON, bias_init=nn.initializers.zeros, dtype=dtype, name=name)


def pad_to_multiple(x: Float[Array, "B T H W D"], multiples: Sequence[int]) -> Float[Array, "B T2 H2 W2 D"]:
    """Pads time, height and width by zeros at their ends."""
    widths = [(0, -length % multiple) for length, multiple in zip(x.shape[1:4], multiples, strict=True)]
    return jnp.pad(x, [(0, 0), *widths, (0, 0)]) if any(after for _, after in widths) else x


class SwinPatchEmbed(nn.Module):
    """Patches that do not overlap, as one matrix product, and a norm."""

    features: int
    size: Triple
    dtype: DTypeLike

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"]) -> Float[Array, "B T2 H2 W2 D"]:
        project = nn.Conv(
            self.features,
            self.size,
            self.size,
            "VALID",
            dtype=self.dtype,
            kernel_init=WEIGHT_INIT,
            conv_general_dilated=_patches_matmul,
            name="proj",
        )
        embedded = project(pad_to_multiple(video, self.size))
        self.sow("intermediates", "projected", embedded)
        return norm("norm", self.dtype)(embedded)


def _patches_matmul(video: jax.Array, kernel: jax.Array, size: Triple, padding: Any, **settings: Any) -> jax.Array:
    """Replaces `lax.conv_general_dilated` for a window as large as its stride."""
    num_clips, *lengths, channels = video.shape
    (t, h, w), (dt, dh, dw) = (length // step for length, step in zip(lengths, size, strict=True)), size
    patches = video.reshape(num_clips, t, dt, h, dh, w, dw, channels).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    patches = patches.reshape(num_clips * t * h * w, -1)
    return (patches @ kernel.reshape(patches.shape[1], -1)).reshape(num_clips, t, h, w, -1)


class WindowAttention(nn.Module):
    """Attention inside windows, with relative positions; `size` is the architecture's size of a window."""

    num_heads: int
    size: Triple
    shifted: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W D"]) -> Float[Array, "B T H W D"]:
        width = x.shape[-1]
        head_dim = width // self.num_heads
        windows = Windows.of(x.shape[1:4], self.size, self.shifted)
        projected = linear(3 * width, "qkv", self.dtype)(windows.pad_and_roll(x))
        queries, keys, values = windows.cut(projected, 3, self.num_heads, head_dim)
        shape = (table_rows(self.size), self.num_heads)
        table = self.param("relative_position_bias_table", WEIGHT_INIT, shape, jnp.float32)
        bias = relative_bias(table, self.size, windows.num_tokens)
        regions = windows.regions()
        regions = None if regions is None else jnp.asarray(regions)
        attended = window_attend(queries * head_dim**-0.5, keys, values, bias, regions)
        y = windows.roll_back_and_crop(linear(width, "proj", self.dtype)(windows.join(attended)))
        self.sow("intermediates", "output", y)
        return y


class SwinBlock(nn.Module):
    """Window attention and MLP, each after a norm and with a residual."""

    num_heads: int
    size: Triple
    shifted: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T H W D"], drop_path: Float[Array, "2 B"] | None = None
    ) -> Float[Array, "B T H W D"]:
        """Applies the block; `drop_path` multiplies the attention's and the MLP's branch, None keeps both."""
        width = x.shape[-1]
        attention_factor, mlp_factor = (None, None) if drop_path is None else drop_path
        attention = WindowAttention(self.num_heads, self.size, self.shifted, self.dtype, name="attn")
        x = x + scale_clips(attention(norm("norm1", self.dtype)(x)), attention_factor)
        hidden = gelu(linear(MLP_RATIO * width, "fc1", self.dtype)(norm("norm2", self.dtype)(x)))
        return constrain_clips(x + scale_clips(linear(width, "fc2", self.dtype)(hidden), mlp_factor))
