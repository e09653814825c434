"""Patch embedding: a strided convolution from colours to the first width.

Source: MViTv2 (arXiv:2112.01526) as in PySlowFast's `slowfast/models/stem_helper.py`. XLA:CPU's convolution of three
colours is slower than its matrix products (MViTv2-S, one busy core: 2.2 times forward, 4.3 times for the kernel's
gradient), so there the windows become the rows of one matrix product. Elsewhere XLA's convolution is used (on a mesh of
TPUs after space to depth, space_to_depth_conv.py); the choice is made at lowering.

Letters of shapes: B clips, T H W frames and pixels, C colours, D width; 2 marks the grid of patches.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.few_channels_conv import conv_as_matmul
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.kernels.space_to_depth_conv import Padding, space_to_depth_conv
from musclemap_jax.models.layers.initializers import WEIGHT_INIT, fan_in_uniform
from musclemap_jax.sharding.context import kernels_for_tpu


class PatchEmbed(nn.Module):
    """Overlapping space-time patches of an odd size `kernel`; zero padding kernel // 2. `features` is D."""

    features: int
    kernel: Triple
    stride: Triple
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"]) -> Float[Array, "B T2 H2 W2 D"]:
        project = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            [(size // 2, size // 2) for size in self.kernel],
            dtype=self.dtype,
            kernel_init=WEIGHT_INIT,
            bias_init=fan_in_uniform(math.prod(self.kernel) * video.shape[-1]),  # PyTorch's, which PySlowFast keeps
            conv_general_dilated=_patch_conv,
            name="proj",
        )
        return project(video)


def _patch_conv(video: jax.Array, kernel: jax.Array, strides: Triple, padding: Padding, **settings: Any) -> jax.Array:
    """Replaces `lax.conv_general_dilated`."""
    convolve = space_to_depth_conv if kernels_for_tpu(video.shape[0]) else lax.conv_general_dilated
    return lax.platform_dependent(
        video,
        kernel,
        cpu=functools.partial(conv_as_matmul, strides=strides, padding=padding),
        default=lambda video, kernel: convolve(video, kernel, strides, padding, **settings),
    )
