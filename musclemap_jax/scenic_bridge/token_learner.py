"""Scenic's TokenLearner for video as the branch `token_learner` of our models.

Source: Ryoo et al., "TokenLearner" (arXiv:2106.11297), and Scenic's `TokenLearnerViT` with the tokenizer `video`, whose
embedding, encoder and parameters' names these are. From layer `learned_from` on, the encoder works on `num_learned`
tokens a frame, which it learns to choose. The branch has no class tokens: it pools, and neither teaches nor is taught
(`num_tokens` 0).

Importing this module enters the branch; building one needs Scenic.

Letters of shapes: B clips, T H W frames and pixels, t h w tubelets of a clip, D width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.backbone import Backbone, Shape
from musclemap_jax.models.branches import BRANCHES, Branch
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

BOTTLENECK = 64
"""Hidden width of the MLP that scores tubelets (`TokenLearnerModuleV11`)."""


@dataclasses.dataclass(frozen=True)
class TokenLearnerSpec(TubeletSpec):
    """Architecture; the default is a ViT-B/16 over tubelets of two frames.

    Attributes:
      num_layers: Layers of the encoder.
      num_learned: Tokens a frame that the encoder learns to choose.
      learned_from: Index of the layer from which on it works on them.
    """

    num_layers: int = 12
    num_learned: int = 8
    learned_from: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.learned_from < self.num_layers:
            raise UserError(
                f"TokenLearnerSpec.learned_from: expected a layer below num_layers={self.num_layers}, got "
                f"{self.learned_from}"
            )

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """One stage."""
        return (self.num_layers - 1,)


class TokenLearner(nn.Module):
    """The branch's network: features (B, 1, D), the mean over the learned tokens."""

    spec: TokenLearnerSpec
    dtype: DTypeLike

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], *, train: bool = False) -> BranchOutput:
        """Runs the network.

        Args:
          video: Frames in [-1, 1], of `spec.input_size`.
          train: Turns dropout on.
        """
        spec = self.spec
        tubelets = embedded(video, spec, self.dtype).reshape(video.shape[0], -1, spec.width)
        encoder = scenic_module("scenic.projects.token_learner.model").EncoderMod(
            mlp_dim=spec.mlp_dim,
            num_layers=spec.num_layers,
            num_heads=spec.num_heads,
            dropout_rate=spec.dropout_rate,
            attention_dropout_rate=spec.dropout_rate,
            tokenizer_type="video",
            num_tokens=spec.num_learned,
            tokenlearner_loc=spec.learned_from,
            temporal_dimensions=spec.grid[0],
            dtype=self.dtype,
            name="Transformer",
        )
        tokens = encoder(tubelets, train=train)
        return BranchOutput((), (), tokens.mean(1, keepdims=True).astype(self.dtype))


def _build(
    spec: TokenLearnerSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str
) -> TokenLearner:
    if num_tokens:
        raise UserError("branch token_learner has no class tokens: set config.model.num_tokens=0")
    return TokenLearner(spec, dtype, name=name)


def token_learner_multiply_adds(spec: TokenLearnerSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass on one view (T, H, W, C), without a head; counted as in cost/flops.py."""
    ((*_, channels),) = shapes
    length, learned = math.prod(spec.grid), spec.grid[0] * spec.num_learned
    choose = length * BOTTLENECK * (spec.width + spec.num_learned) + length * spec.num_learned * spec.width
    before = spec.learned_from * spec.layer_multiply_adds(length)
    after = (spec.num_layers - spec.learned_from) * spec.layer_multiply_adds(learned)
    return spec.embed_multiply_adds(channels) + before + choose + after


TOKEN_LEARNER = Backbone(
    name="token_learner",
    default=TokenLearnerSpec(),
    build=_build,
    multiply_adds=token_learner_multiply_adds,
    sharding_rules=SHARDING_RULES,
    input_fields=clip_fields,
)

TOKEN_LEARNER_BRANCH = Branch("token_learner", "video", TOKEN_LEARNER, centred_clips, whole_clip)
BRANCHES[TOKEN_LEARNER_BRANCH.name] = TOKEN_LEARNER_BRANCH
