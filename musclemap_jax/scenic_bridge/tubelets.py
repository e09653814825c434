"""What Scenic's video transformers share: clips cut into tubelets, which one convolution embeds.

Letters of shapes: B clips, T H W frames and pixels, t h w tubelets of a clip, D width.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import ml_collections
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import Batch, Inputs
from musclemap_jax.scenic_bridge.installed import scenic_module
from musclemap_jax.sharding.rules import Rules

Triple = tuple[int, int, int]

SHARDING_RULES: Rules = (
    (r"MultiHeadDotProductAttention_\d+/(query|key|value)/kernel$", ("fsdp", "tensor", None)),
    (r"MultiHeadDotProductAttention_\d+/out/kernel$", ("tensor", None, "fsdp")),
    (r"(pos_embedding|cls_\w+|classification|receiver)$", ()),
)
"""Sharding of the encoders' parameters, whose attention has an axis of heads."""


@dataclasses.dataclass(frozen=True)
class TubeletSpec:
    """Sizes of a transformer over tubelets.

    Attributes:
      patch_size: Frames, height and width of a tubelet.
      input_size: Frames, height and width of a clip, on which the position embeddings depend.
      width: D.
      num_heads: Attention heads.
      mlp_dim: Hidden width of the MLPs.
      dropout_rate: Dropout rate after attention, in MLPs and on the embeddings.
    """

    patch_size: Triple = (2, 16, 16)
    input_size: Triple = (32, 224, 224)
    width: int = 768
    num_heads: int = 12
    mlp_dim: int = 3072
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        if any(size % patch for size, patch in zip(self.input_size, self.patch_size, strict=True)):
            raise UserError(f"{name}: input_size {self.input_size} is not a multiple of patch_size {self.patch_size}")
        if self.input_size[1] != self.input_size[2] or self.width % self.num_heads:
            raise UserError(
                f"{name}: expected square frames and a width that num_heads divides, got input_size {self.input_size}, "
                f"width {self.width} and num_heads {self.num_heads}"
            )

    @property
    def grid(self) -> Triple:
        """(t, h, w)."""
        time, height, width = (size // patch for size, patch in zip(self.input_size, self.patch_size, strict=True))
        return time, height, width

    @property
    def output_dim(self) -> int:
        """Width of the final tokens."""
        return self.width

    def embed_multiply_adds(self, channels: int) -> int:
        """Products of the embedding of one clip."""
        return math.prod(self.grid) * math.prod(self.patch_size) * channels * self.width

    def layer_multiply_adds(self, length: int) -> int:
        """Products of one encoder layer on a sequence."""
        return length * (4 * self.width**2 + 2 * self.width * self.mlp_dim) + 2 * length**2 * self.width


def embedded(video: Float[Array, "B T H W C"], spec: TubeletSpec, dtype: DTypeLike) -> Float[Array, "B t hw D"]:
    """Scenic's embedding of tubelets, at first of their middle frames alone; called within a module, named `embedding`.

    Raises:
      UserError: The clips have another size than the architecture's.
    """
    if video.shape[1:4] != spec.input_size:
        raise UserError(
            f"{type(spec).__name__}: expected clips of {spec.input_size}, got {video.shape[1:4]}: set the backbone's "
            "input_size to the clips' frames, height and width"
        )
    frames, height, width = spec.patch_size
    encoding = ml_collections.ConfigDict({"method": "3d_conv", "kernel_init_method": "central_frame_initializer"})
    patches = ml_collections.ConfigDict({"size": (height, width, frames)})
    encode = scenic_module("scenic.projects.vivit.model").temporal_encode
    tubelets, time = encode(video, encoding, patches, spec.width, return_1d=False)
    return tubelets.astype(dtype).reshape(video.shape[0], time, -1, spec.width)


def centred_clips(batch: Batch, dtype: DTypeLike) -> Inputs:
    """Frames in [-1, 1] of uint8 clips (B, S, T, H, W, 3), every view a row of its own."""
    clips = jnp.asarray(batch["video"])
    return ((clips.reshape(-1, *clips.shape[2:]).astype(jnp.float32) / 127.5 - 1.0).astype(dtype),)


def whole_clip(spec: TubeletSpec, num_persons: int) -> Inputs:
    """An example of the input."""
    return (jnp.zeros((1, *spec.input_size, 3)),)


def clip_fields(spec: TubeletSpec) -> dict[str, Any]:
    """Fields of the input that must equal the architecture's."""
    return {"num_frames": spec.input_size[0], "crop_size": spec.input_size[1]}
