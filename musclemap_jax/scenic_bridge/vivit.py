"""Scenic's ViViT with the factorised encoder as the branch `vivit` of our models.

Source: Arnab et al., "ViViT: A Video Vision Transformer" (arXiv:2103.15691), model 2, and Scenic's `SpaceTimeViViT`,
whose embedding, encoders and parameters' names these are, so that its checkpoints fit. Differences: the classification
tokens (and receiver tokens) of TransM3E take the place of the one class token of the encoder over time, at its
position; without them (`num_tokens` 0) it is Scenic's model with the classifier `token`. All frames pass the encoder
over space as one batch, where Scenic maps over time: dropout is drawn for each frame.

The encoder over space has one token a frame, so the layers between which tokens are distilled are those over time.
Importing this module enters the branch; building one needs Scenic.

Letters of shapes: B clips, T H W frames and pixels, t h w tubelets of a clip, M class tokens in one set, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.backbone import Backbone, Shape
from musclemap_jax.models.branches import BRANCHES, Branch
from musclemap_jax.models.class_tokens import ClassTokens, split_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.scenic_bridge.installed import scenic_module
from musclemap_jax.scenic_bridge.tubelets import (
    SHARDING_RULES,
    TubeletSpec,
    centred_clips,
    clip_fields,
    embedded,
    whole_clip,
)

ATTENTION = ml_collections.FrozenConfigDict({"type": "factorized_encoder"})
"""Scenic's setting for attention within a frame, then over time."""


@dataclasses.dataclass(frozen=True)
class ViViTSpec(TubeletSpec):
    """Architecture; the default is ViViT-B/16x2 FE.

    Attributes:
      spatial_layers: Layers of the encoder over a frame's tubelets.
      temporal_layers: Layers of the encoder over time.
      drop_path_rate: Stochastic depth of the last layer of each encoder; it grows linearly from 0.
    """

    spatial_layers: int = 12
    temporal_layers: int = 4
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.spatial_layers, self.temporal_layers) < 1:
            raise UserError("ViViTSpec: expected at least one layer in each encoder")

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """One stage: the layers over time."""
        return (self.temporal_layers - 1,)


class PositionEmbedding(nn.Module):
    """Learned positions of the frames, (1, 1 + t, D) with that of the class tokens first; Scenic's `posembed_input`."""

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "B M D"], frames: Float[Array, "B t D"]
    ) -> tuple[Float[Array, "B M D"], Float[Array, "B t D"]]:
        shape = (1, 1 + frames.shape[1], frames.shape[2])
        positions = self.param("pos_embedding", nn.initializers.normal(0.02), shape, jnp.float32)
        positions = positions.astype(frames.dtype)
        return tokens + positions[:, :1], frames + positions[:, 1:]


class TemporalTransformer(nn.Module):
    """Scenic's encoder, over frames, with any number of class tokens, returned after each layer and after the norm."""

    spec: ViViTSpec
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "B M D"], frames: Float[Array, "B t D"], *, train: bool
    ) -> list[Float[Array, "B M D"]]:
        spec, num_tokens = self.spec, tokens.shape[1]
        x = jnp.concatenate(PositionEmbedding(name="posembed_input")(tokens, frames), axis=1)
        x = nn.Dropout(spec.dropout_rate)(x, deterministic=not train)
        block = scenic_module("scenic.projects.vivit.model").EncoderBlock
        layers = []
        for layer in range(spec.temporal_layers):
            x = block(
                mlp_dim=spec.mlp_dim,
                num_heads=spec.num_heads,
                dtype=self.dtype,
                dropout_rate=spec.dropout_rate,
                attention_dropout_rate=spec.dropout_rate,
                droplayer_p=layer / max(spec.temporal_layers - 1, 1) * spec.drop_path_rate,
                name=f"encoderblock_{layer}",
            )(x, deterministic=not train)
            layers.append(x[:, :num_tokens])
        return [*layers, nn.LayerNorm(name="encoder_norm")(x)[:, :num_tokens].astype(self.dtype)]


class ViViT(nn.Module):
    """The branch's network; `num_tokens` M, 0 for Scenic's one class token, and `receiver` as in `mvit.MViT`."""

    spec: ViViTSpec
    num_tokens: int
    receiver: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], *, train: bool = False) -> BranchOutput:
        """Returns the class tokens after every layer over time and after the final norm.

        Args:
          video: Frames in [-1, 1], of `spec.input_size`.
          train: Turns dropout and stochastic depth on.
        """
        spec, num_clips, time = self.spec, video.shape[0], self.spec.grid[0]
        tubelets = embedded(video, spec, self.dtype).reshape(num_clips * time, -1, spec.width)
        token = self._class_token("SpatialTransformer", len(tubelets))
        encoder = scenic_module("scenic.projects.vivit.model").Encoder(
            temporal_dims=None,
            mlp_dim=spec.mlp_dim,
            num_layers=spec.spatial_layers,
            num_heads=spec.num_heads,
            attention_config=ATTENTION,
            dropout_rate=spec.dropout_rate,
            attention_dropout_rate=spec.dropout_rate,
            stochastic_droplayer_rate=spec.drop_path_rate,
            dtype=self.dtype,
            name="SpatialTransformer",
        )
        frames = encoder(jnp.concatenate([token, tubelets], axis=1), train=train)[:, 0]
        frames = frames.astype(self.dtype).reshape(num_clips, time, spec.width)
        over_time = TemporalTransformer(spec, self.dtype, name="TemporalTransformer")
        if not self.num_tokens:
            *_, final = over_time(self._class_token("TemporalTransformer", num_clips), frames, train=train)
            return BranchOutput((), (), final)
        tokens = ClassTokens(spec.width, self.num_tokens, self.receiver, self.dtype, name="class_tokens")(num_clips)
        *layers, final = over_time(tokens, frames, train=train)
        return split_layers(layers, final, self.num_tokens)

    def _class_token(self, encoder: str, batch_size: int) -> Float[Array, "B 1 D"]:
        """Scenic's one class token of an encoder."""
        token = self.param(f"cls_{encoder}", nn.initializers.zeros, (1, 1, self.spec.width), jnp.float32)
        return jnp.tile(token.astype(self.dtype), (batch_size, 1, 1))


def _build(spec: ViViTSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> ViViT:
    return ViViT(spec, num_tokens, receiver, dtype, name=name)


def vivit_multiply_adds(spec: ViViTSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass on one view (T, H, W, C), without a head; counted as in cost/flops.py."""
    ((*_, channels),) = shapes
    time, height, width = spec.grid
    space = time * spec.spatial_layers * spec.layer_multiply_adds(height * width + 1)
    over_time = spec.temporal_layers * spec.layer_multiply_adds(time + (num_tokens or 1))
    return spec.embed_multiply_adds(channels) + space + over_time


VIVIT = Backbone(
    name="vivit",
    default=ViViTSpec(),
    build=_build,
    multiply_adds=vivit_multiply_adds,
    sharding_rules=SHARDING_RULES,
    token_pattern=r"^(class_tokens|cls_TemporalTransformer)(/|$)",
    input_fields=clip_fields,
)

VIVIT_BRANCH = Branch("vivit", "video", VIVIT, centred_clips, whole_clip)
BRANCHES[VIVIT_BRANCH.name] = VIVIT_BRANCH
