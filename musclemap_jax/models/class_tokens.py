"""Learned class tokens (MCT): one set for classification and, with distillation, one that receives.

Source: TransM3E (arXiv:2303.00952, section 4) and its released code: one token for each of the 20 muscle regions
replaces the one class token of MViTv2; M = 1 is the published MViTv2. Order in a sequence:
[receiver (M) | classification (M) | patches].

Letters of shapes: B clips, M tokens in one set, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.outputs import BranchOutput


class ClassTokens(nn.Module):
    """The tokens in front of a sequence: M = `num_tokens`, at least 1, and as many in the receiver set if there is one.

    Parameters: `classification` (1, M, D) and, with a receiver, `receiver` (1, M, D), both normal(0.02).
    """

    width: int
    num_tokens: int
    receiver: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, batch_size: int) -> Float[Array, "B tokens D"]:
        """Returns (B, M, D), or (B, 2M, D) with the receiver set in front."""
        if self.num_tokens < 1:
            raise ValueError(f"expected at least one class token, got num_tokens={self.num_tokens}")
        shape = (1, self.num_tokens, self.width)
        init = nn.initializers.normal(0.02)
        tokens = self.param("classification", init, shape, jnp.float32)
        if self.receiver:
            tokens = jnp.concatenate([self.param("receiver", init, shape, jnp.float32), tokens], axis=1)
        return jnp.broadcast_to(tokens.astype(self.dtype), (batch_size, *tokens.shape[1:]))


def split_token_sets(
    tokens: Float[Array, "B tokens D"], num_tokens: int
) -> tuple[Float[Array, "B M D"] | None, Float[Array, "B M D"]]:
    """Splits class tokens, M or 2M of them, into the receiver set, None where there is only one, and the other set.

    Raises:
      ValueError: The number of tokens is neither M nor 2M.
    """
    if tokens.shape[1] == num_tokens:
        return None, tokens
    if tokens.shape[1] != 2 * num_tokens:
        raise ValueError(f"expected {num_tokens} or {2 * num_tokens} class tokens, got {tokens.shape[1]}")
    return tokens[:, :num_tokens], tokens[:, num_tokens:]


def split_layers(
    layers: Sequence[Float[Array, "B tokens _"]], final: Float[Array, "B tokens D"], num_tokens: int
) -> BranchOutput:
    """The output of a branch from its class tokens after every layer and after the final norm."""
    sets = [split_token_sets(layer, num_tokens) for layer in (*layers, final)]
    (*receiver, final_receiver), (*classification, final_classification) = zip(*sets, strict=True)
    received = () if final_receiver is None else tuple(receiver)
    return BranchOutput(tuple(classification), received, final_classification, final_receiver)
