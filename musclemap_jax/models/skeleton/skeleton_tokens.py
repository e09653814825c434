"""Class tokens as virtual nodes of the skeleton graph: joints to tokens and tokens to joints after each unit.

Source: our definition (design of the skeleton branch); the paper on MuscleMap names such a block in its Fig. 4, its
equations are not at hand. With X (D, V, T', N) the unit's output, J its mean over T', Z the tokens:

    Z' = Z U + gelu(norm((S + softmax(Q(Z) K(J)^T / sqrt(d))) J W))
    X' = X + (R Z') W', the same at every time step

W' starts at zero, so the joints' features are at the start exactly those without tokens.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.layers.layers import LayerNorm, at_least_float32, gelu

NORM_EPSILON = 1e-6


def token_norm(dtype: jnp.dtype) -> LayerNorm:
    """The layer norm `norm` over the width of tokens (..., D)."""
    return LayerNorm(epsilon=NORM_EPSILON, bias_init=nn.initializers.zeros, dtype=dtype, name="norm")


def keep_or_embed(key: jax.Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Initialises U: the identity where the width stays, else orthonormal rows or columns, which keep lengths."""
    if shape[0] == shape[1]:
        return jnp.eye(shape[0], dtype=dtype)
    return nn.initializers.orthogonal()(key, shape, dtype)


class SkeletonTokens(nn.Module):
    """Exchange between the tokens and the joints of one unit.

    Attributes:
      returns_joints: False leaves the joints as they are (the last unit: nothing reads them any more).
      dtype: dtype of the computation; softmax and norm are float32.
    """

    returns_joints: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, joints: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Updates tokens by joints and joints by tokens.

        Args:
          tokens: Z (N, G, D_in), G tokens of each of N skeletons.
          joints: X (D, V, T', N).

        Returns:
          Z' (N, G, D), X' (D, V, T', N).
        """
        width, num_joints, _, _ = joints.shape
        num_tokens = tokens.shape[1]
        key_width = max(width // 2, 1)
        mean = joints.mean(2).transpose(2, 1, 0)
        query = nn.Dense(key_width, use_bias=False, dtype=self.dtype, name="query")(tokens)
        key = nn.Dense(key_width, use_bias=False, dtype=self.dtype, name="key")(mean)
        value = nn.Dense(width, use_bias=False, dtype=self.dtype, name="value")(mean)

        adjacency = self.param(
            "adjacency", nn.initializers.constant(1 / num_joints), (num_tokens, num_joints), jnp.float32
        )
        logits = jnp.einsum("ngd,nvd->ngv", query, key)
        logits = logits.astype(at_least_float32(self.dtype)) * key_width**-0.5
        weights = adjacency[None] + jax.nn.softmax(logits)
        gathered = jnp.einsum("ngv,nvd->ngd", weights.astype(self.dtype), value)
        gathered = token_norm(self.dtype)(gathered)
        kept = nn.Dense(width, use_bias=False, dtype=self.dtype, kernel_init=keep_or_embed, name="keep")(tokens)
        tokens = kept + gelu(gathered)
        if not self.returns_joints:
            return tokens, joints

        spread = self.param("spread", nn.initializers.normal(num_tokens**-0.5), (num_joints, num_tokens), jnp.float32)
        message = jnp.einsum("vg,ngd->nvd", spread.astype(self.dtype), tokens)
        output = nn.Dense(width, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="to_joints")(
            message
        )
        return tokens, joints + output.transpose(2, 1, 0)[:, :, None]
