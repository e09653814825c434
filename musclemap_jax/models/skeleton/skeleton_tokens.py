"""Class tokens as virtual nodes of the skeleton graph: joints to tokens and tokens to joints after each unit.

Source: our own definition. The paper on MuscleMap shows such a block in its Fig. 4 without equations. With X
(D, V, T, BP) the unit's output, J its mean over T, Z the tokens:

    Z' = Z U + gelu(norm((S + softmax(Q(Z) K(J)^T / sqrt(d))) J W))
    X' = X + (R Z') W', the same at every time step

W' starts at zero, so initially the joints' features are exactly those without tokens.

Letters of shapes: BP skeletons (clips times persons), G class tokens of all sets, V joints, T poses, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import gelu
from musclemap_jax.models.layers.initializers import identity_or_orthogonal
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.precision import at_least_float32

NORM_EPSILON = 1e-6
TOKEN_STDDEV = 0.02


def initial_tokens(
    param: Callable[..., Float[Array, "G D"]], num_tokens: int, width: int, num_skeletons: int, dtype: DTypeLike
) -> Float[Array, "BP G D"] | None:
    """A module's parameter `tokens`, [receiver | classification], for every skeleton; None for no tokens.

    Args:
      param: The module's method `param`.
      num_tokens: G.
      width: D.
      num_skeletons: BP.
      dtype: Dtype of the result.
    """
    if not num_tokens:
        return None
    init = nn.initializers.truncated_normal(TOKEN_STDDEV)
    tokens = param("tokens", init, (num_tokens, width), jnp.float32).astype(dtype)
    return jnp.broadcast_to(tokens[None], (num_skeletons, num_tokens, width))


def token_norm(dtype: DTypeLike) -> LayerNorm:
    """The layer norm `norm` over the width of tokens (..., D)."""
    return LayerNorm(epsilon=NORM_EPSILON, bias_init=nn.initializers.zeros, dtype=dtype, name="norm")


class SkeletonTokens(nn.Module):
    """Exchange between the tokens and the joints of one unit; softmax and norm are float32.

    In the last unit, after which nothing reads the joints, `returns_joints` is False and leaves them unchanged.
    """

    returns_joints: bool = True
    dtype: DTypeLike = jnp.float32

    def __call__(
        self, tokens: Float[Array, "BP G D_in"], joints: Float[Array, "D V T BP"]
    ) -> tuple[Float[Array, "BP G D"], Float[Array, "D V T BP"]]:
        """Updates tokens by joints and joints by tokens: Z, X to Z', X'."""
        tokens, message = self.exchange(tokens, joints.mean(2).transpose(2, 1, 0))
        return tokens, joints if message is None else joints + message.transpose(2, 1, 0)[:, :, None]

    @nn.compact
    def exchange(
        self, tokens: Float[Array, "BP G D_in"], mean: Float[Array, "BP V D"]
    ) -> tuple[Float[Array, "BP G D"], Float[Array, "BP V D"] | None]:
        """Z, J to Z', (R Z') W', for joints in any layout; None where the joints are left unchanged."""
        _, num_joints, width = mean.shape
        num_tokens = tokens.shape[1]
        key_width = max(width // 2, 1)
        linear = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype)
        query = linear(key_width, name="query")(tokens)
        key = linear(key_width, name="key")(mean)
        value = linear(width, name="value")(mean)

        uniform = nn.initializers.constant(1 / num_joints)
        adjacency = self.param("adjacency", uniform, (num_tokens, num_joints), jnp.float32)
        logits = jnp.einsum("ngd,nvd->ngv", query, key)
        logits = logits.astype(at_least_float32(self.dtype)) * key_width**-0.5
        weights = adjacency[None] + jax.nn.softmax(logits)
        gathered = jnp.einsum("ngv,nvd->ngd", weights.astype(self.dtype), value)
        gathered = token_norm(self.dtype)(gathered)
        tokens = linear(width, kernel_init=identity_or_orthogonal, name="keep")(tokens) + gelu(gathered)
        if not self.returns_joints:
            return tokens, None

        spread = self.param("spread", nn.initializers.normal(num_tokens**-0.5), (num_joints, num_tokens), jnp.float32)
        message = jnp.einsum("vg,ngd->nvd", spread.astype(self.dtype), tokens)
        return tokens, linear(width, kernel_init=nn.initializers.zeros, name="to_joints")(message)
