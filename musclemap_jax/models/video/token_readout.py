"""Class tokens for networks without tokens: they read the features of each stage and change nothing.

Source: our own definition, for backbones that were published without class tokens (Video Swin, the ResNets). Let X
(N positions, D) be the features after a stage, and Z the tokens:

    Y  = norm(Z U)
    Z' = Z U + (softmax(Y Q X'^T / sqrt(D)) X') V,    X' = norm(X)

U starts as the identity, or orthonormal where the width changes; Q and V like any linear layer. Each token thus pools
the positions that it asks for. Tokens in the windows of Swin would be others in every window and would change the
features; a token that only reads costs two products of tokens x positions x width, leaves the features exactly those of
the published network, so published weights fit as they are, and without tokens nothing is left of it.

Letters of shapes: B clips, G class tokens of all sets, M of one set, N positions, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.backbone import READ_PATCHES, TOKEN_LOGITS, PatchReading
from musclemap_jax.models.class_tokens import ClassTokens, split_layers
from musclemap_jax.models.layers.initializers import identity_or_orthogonal
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.precision import at_least_float32
from musclemap_jax.models.layers.tap import tap
from musclemap_jax.models.outputs import BranchOutput

NORM_EPSILON = 1e-6

TOKEN_PATTERN = r"^readout/"
"""Matches the parameters that exist because of the class tokens, where `TokenReadout` has the name `readout`."""


class StageReadout(nn.Module):
    """One stage's reading, in `dtype`; softmax and norms are float32."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: Float[Array, "B G D_in"], features: Float[Array, "B *grid D"]) -> Float[Array, "B G D"]:
        """Updates the tokens by the features."""
        width = features.shape[-1]
        zero_bias = nn.initializers.zeros
        features = tap(self, READ_PATCHES, features)
        positions = features.reshape(features.shape[0], -1, width)
        positions = LayerNorm(1, NORM_EPSILON, zero_bias, self.dtype, name="feature_norm")(positions)
        keep = nn.Dense(width, False, self.dtype, kernel_init=identity_or_orthogonal, name="keep")
        tokens = keep(tokens)
        asking = LayerNorm(1, NORM_EPSILON, zero_bias, self.dtype, name="token_norm")(tokens)
        query = nn.Dense(width, False, self.dtype, name="query")(asking)
        logits = jnp.einsum("bgd,bnd->bgn", query, positions).astype(at_least_float32(self.dtype)) * width**-0.5
        self.sow("intermediates", TOKEN_LOGITS, logits)
        gathered = jnp.einsum("bgn,bnd->bgd", jax.nn.softmax(logits).astype(self.dtype), positions)
        return tokens + nn.Dense(width, False, self.dtype, name="value")(gathered)


class TokenReadout(nn.Module):
    """The class tokens of a network, or its pooled features where there are none.

    Attributes:
      num_tokens: M; 0 for none.
      receiver: Whether a receiver set precedes the classification set.
      dtype: Dtype of the computation.
    """

    num_tokens: int
    receiver: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, stages: Sequence[Float[Array, "B ..."]], final: Float[Array, "B ..."]) -> BranchOutput:
        """Reads the stages (B, ..., D_s) one after another.

        Args:
          stages: Features after each stage.
          final: What the published network averages over positions before its head.
        """
        if not self.num_tokens:
            final = tap(self, READ_PATCHES, final)
        positions = final.reshape(final.shape[0], -1, final.shape[-1])
        if not self.num_tokens:
            pooled = positions.mean(1, keepdims=True, dtype=at_least_float32(self.dtype))
            return BranchOutput((), (), pooled.astype(self.dtype), features=positions)
        width, num_clips = stages[0].shape[-1], final.shape[0]
        class_tokens = ClassTokens(width, self.num_tokens, self.receiver, self.dtype, name="class_tokens")
        tokens, layers = class_tokens(num_clips), []
        for stage, features in enumerate(stages):
            tokens = StageReadout(self.dtype, name=f"stage{stage + 1}")(tokens, features)
            layers.append(tokens)
        norm = LayerNorm(1, NORM_EPSILON, nn.initializers.zeros, self.dtype, name="norm")
        return dataclasses.replace(split_layers(layers, norm(tokens), self.num_tokens), features=positions)


def readout_multiply_adds(positions: Sequence[int], widths: Sequence[int], num_tokens: int) -> int:
    """Counts the reading of all stages, each of some positions and a width; counted as in cost/flops.py."""
    before = (widths[0], *widths[:-1])
    return num_tokens * sum(
        narrow * width + 2 * width**2 + 2 * count * width
        for count, narrow, width in zip(positions, before, widths, strict=True)
    )


def readout_reading(num_stages: int, num_tokens: int) -> PatchReading:
    """The last stage, which the tokens read last; without tokens, what is pooled."""
    if not num_tokens:
        return PatchReading(("readout",))
    stage = ("readout", f"stage{num_stages}")
    return PatchReading(stage, attention=stage)
