"""Fusion of a branch's two sets of class tokens (MCTF) and its alternatives; attentive pooling.

Source: TransM3E (arXiv:2303.00952); `MCTF` and `CLSFusion` follow the released code's order of operations and
parameter names (token set 1 is the receiver set, 2 the classification set). The released code reads each attention
result (B, M, D) transposed in memory as if it were (B, M, D) again, which mixes tokens with channels: only the fusion
`mctf_released` does so, for its checkpoints.

Fusions are an open table: a configuration's file may add its own to `FUSIONS` (docs/extending.md).

Letters of shapes: B clips, M class tokens in one set, N patches or joints, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.layers.drop_path import drop_path_factors, scale_clips
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.linear import Mlp, dense

NORM_EPSILON = 1e-5

Tokens = Float[Array, "B M D"]
Features = Float[Array, "B D"]


class Fusion(nn.Module):
    """Base class of fusions, called as fusion(classification, receiver, train=...).

    One with `reads_features` is also called with the `features` (B, N, D) of `BranchOutput`. One that does not need
    receiver tokens also serves branches that are not taught, which have none; in the place of the others there, the
    classification tokens are averaged.
    """

    reads_features: ClassVar[bool] = False
    needs_receiver: ClassVar[bool] = True
    dtype: DTypeLike = jnp.float32

    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features | Tokens:
        """Fuses both sets of tokens into one feature per clip, or into one for each muscle region, (B, M, D).

        `receiver` is None where the branch has none, which `required` turns into an error. `train` turns on dropout and
        stochastic depth, which need the rng stream `dropout`.
        """
        raise NotImplementedError

    @nn.nowrap
    def multiply_adds(self, num_tokens: int, width: int) -> int:
        """Counts the multiply-adds for one clip with M = `num_tokens` and D = `width`."""
        return 0

    @nn.nowrap
    def required(self, receiver: Tokens | None) -> Tokens:
        """Returns the receiver set; UserError where there is none."""
        if receiver is None:
            raise UserError(
                f"fusion {type(self).__name__}: expected a receiver set beside the classification tokens, got none: "
                "give the branch receiver tokens or choose fusion 'none'"
            )
        return receiver


class CLSFusion(nn.Module):
    """Attention within and between two sets of tokens: (B, M, D), (B, M, D) -> (B, M, D).

    With attention A_ij from the queries of set i to the keys of set j, set i's output is the sum of projections of
    A_ii V_i, A_12 V_i and A_21 V_i; both outputs are concatenated and projected.

    Attributes:
      scale: Factor of the logits; D^-0.5 if None. The released class has 0.8 as its default; MCTF passes None.
      qkv_bias: Whether queries, keys and values have a bias.
      released_reshape: Whether to mix tokens with channels as the released code does.
      dtype: Dtype of the computation; softmax is float32.
    """

    scale: float | None = 0.8
    qkv_bias: bool = True
    released_reshape: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, first: Tokens, second: Tokens) -> Tokens:
        width = first.shape[-1]
        scale = width**-0.5 if self.scale is None else self.scale

        def linear(name: str, x: jax.Array, use_bias: bool = True) -> jax.Array:
            return dense(width, name, self.dtype, use_bias)(x)

        def attend(queries: jax.Array, keys: jax.Array) -> jax.Array:
            logits = jnp.einsum("bqd,bkd->bqk", queries, keys, preferred_element_type=jnp.float32)
            return jax.nn.softmax(logits * scale, axis=-1).astype(self.dtype)

        def mixed(weights: jax.Array, values: jax.Array) -> jax.Array:
            y = weights @ values
            return y.swapaxes(1, 2).reshape(y.shape) if self.released_reshape else y

        q1, k1, v1 = (linear(f"w{kind}_t1", first, self.qkv_bias) for kind in "qkv")
        q2, k2, v2 = (linear(f"w{kind}_t2", second, self.qkv_bias) for kind in "qkv")
        across, back = attend(q1, k2), attend(q2, k1)
        out1 = linear("proj_t1t1", mixed(attend(q1, k1), v1))
        out1 = out1 + linear("proj_t1t2", mixed(across, v1)) + linear("proj_t2t1", mixed(back, v1))
        out2 = linear("proj_t2t2", mixed(attend(q2, k2), v2))
        out2 = out2 + linear("proj_t1t2_2", mixed(across, v2)) + linear("proj_t2t1_2", mixed(back, v2))
        return linear("proj_2", nn.relu(linear("proj_0", jnp.concatenate([out1, out2], axis=-1))))


class MCTF(Fusion):
    """Multi-classification tokens fusion: mean of both sets + CLS-Fusion, norm, MLP, residual to the mean, mean over M.

    `scale`, `qkv_bias` and `released_reshape` are those of CLS-Fusion.

    Attributes:
      mlp_ratio: Hidden width of the MLP divided by D.
      dropout_rate: Dropout rate inside the MLP.
      drop_path_rate: Probability that a clip skips the MLP in training.
    """

    scale: float | None = None
    qkv_bias: bool = False
    released_reshape: bool = False
    mlp_ratio: float = 1.0
    dropout_rate: float = 0.0
    drop_path_rate: float = 0.2

    @nn.compact
    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features:
        receiver = self.required(receiver)
        # Over tokens and channels together, with a weight and bias (M, D).
        norm = functools.partial(LayerNorm, 2, NORM_EPSILON, nn.initializers.zeros, self.dtype)
        fuse = CLSFusion(self.scale, self.qkv_bias, self.released_reshape, self.dtype, name="attn_mixed_cls_tokens")
        mean = (receiver + classification) / 2
        fused = fuse(norm(name="norm1_token1")(receiver), norm(name="norm1_token2")(classification))
        self.sow("intermediates", "cls_fusion", fused)
        normed = norm(name="norm2_pathway1")(mean + fused)
        width = classification.shape[-1]
        mlp = Mlp(int(width * self.mlp_ratio), width, self.dropout_rate, self.dtype, name="mlp_pathway1")
        (changed,) = mlp(normed, train=train)
        factor = None
        if train and self.drop_path_rate > 0:
            rate = jnp.asarray([self.drop_path_rate], jnp.float32)
            factor = drop_path_factors(self.make_rng("dropout"), rate, mean.shape[0])[0]
        return jnp.mean(mean + scale_clips(changed, factor), axis=1)

    @nn.nowrap
    def multiply_adds(self, num_tokens: int, width: int) -> int:
        linear, attend = num_tokens * width**2, num_tokens**2 * width
        return (6 + 6 + 3) * linear + (4 + 6) * attend + 2 * num_tokens * width * int(width * self.mlp_ratio)


class ElementwiseFusion(Fusion):
    """Mean over tokens of an elementwise combination of both sets, combine(classification, receiver)."""

    combine: Callable[[Tokens, Tokens], Tokens] = jnp.add

    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features:
        return jnp.mean(self.combine(classification, self.required(receiver)), axis=1)


class NoFusion(Fusion):
    """Mean of the classification tokens; receiver tokens do not take part."""

    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features:
        return jnp.mean(classification, axis=1)


class ByRegion(Fusion):
    """Mean of both sets, token by token, so that a region's logit depends on its own tokens alone.

    Source: the one query for each label of Query2Label (Liu et al., 2021, arXiv:2107.10834), whose group-wise head the
    branch's head is then: the weights of region k read class token k. A token for each region is needed.
    """

    needs_receiver: ClassVar[bool] = False

    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Tokens:
        return classification if receiver is None else (classification + receiver) / 2


class ConcatFusion(Fusion):
    """Both sets concatenated on channels, a linear layer to D, and the mean over tokens."""

    @nn.compact
    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features:
        both = jnp.concatenate([classification, self.required(receiver)], axis=-1)
        return jnp.mean(dense(classification.shape[-1], "proj", self.dtype)(both), axis=1)

    @nn.nowrap
    def multiply_adds(self, num_tokens: int, width: int) -> int:
        return 2 * num_tokens * width**2


class AttentionFusion(Fusion):
    """Attention after layer norm, a residual, and the mean over tokens.

    `cross` lets classification tokens attend to receiver tokens; without it all 2M tokens attend to one another.
    """

    cross: bool = False
    num_heads: int = 1

    @nn.compact
    def __call__(self, classification: Tokens, receiver: Tokens | None, *, train: bool = False) -> Features:
        receiver = self.required(receiver)
        norm = functools.partial(LayerNorm, 1, NORM_EPSILON, nn.initializers.zeros, self.dtype)
        tokens = classification if self.cross else jnp.concatenate([receiver, classification], axis=1)
        queries = norm(name="norm")(tokens)
        keys = norm(name="norm_receiver")(receiver) if self.cross else None
        attention = nn.MultiHeadDotProductAttention(
            self.num_heads, dtype=self.dtype, force_fp32_for_softmax=True, name="attn"
        )
        return jnp.mean(tokens + attention(queries, keys), axis=1)

    @nn.nowrap
    def multiply_adds(self, num_tokens: int, width: int) -> int:
        sets = 1 if self.cross else 2
        return sets * 4 * num_tokens * width**2 + 2 * (sets * num_tokens) ** 2 * width


class AttentivePooling(Fusion):
    """A learned query that attends to the class tokens and features of a branch, then an MLP: an attentive probe.

    Source: the evaluation of frozen features in V-JEPA (Bardes et al., 2024, arXiv:2404.08471). It stands in the place
    of a fusion and reads what a frozen backbone ends with, which the mean of its class tokens leaves out.

    Attributes:
      mlp_ratio: Hidden width of the MLP divided by D.
      head_width: Least width of an attention head.
    """

    reads_features: ClassVar[bool] = True
    needs_receiver: ClassVar[bool] = False
    mlp_ratio: float = 4.0
    head_width: int = 64

    @nn.compact
    def __call__(
        self,
        classification: Tokens,
        receiver: Tokens | None,
        *,
        features: Float[Array, "B N D"] | None = None,
        train: bool = False,
    ) -> Features:
        if features is None:
            raise UserError(
                "config.model.fusion: attentive pooling reads patches or joints, which a branch's backbone does not "
                "return (BranchOutput.features): choose another fusion"
            )
        width = classification.shape[-1]
        num_heads = next(n for n in range(max(width // self.head_width, 1), 0, -1) if width % n == 0)
        norm = functools.partial(LayerNorm, 1, NORM_EPSILON, nn.initializers.zeros, self.dtype)
        present = [array.astype(self.dtype) for array in (receiver, classification, features) if array is not None]
        keys = norm(name="norm_keys")(jnp.concatenate(present, axis=1))
        query = self.param("query", nn.initializers.normal(0.02), (1, 1, width), jnp.float32).astype(self.dtype)
        query = jnp.broadcast_to(query, (keys.shape[0], 1, width))
        attention = nn.MultiHeadDotProductAttention(
            num_heads, dtype=self.dtype, force_fp32_for_softmax=True, name="attn"
        )
        pooled = query + attention(query, keys)
        (changed,) = Mlp(int(width * self.mlp_ratio), width, 0.0, self.dtype, name="mlp")(norm(name="norm")(pooled))
        return (pooled + changed)[:, 0]

    @nn.nowrap
    def multiply_adds(self, num_tokens: int, width: int) -> int:
        """Counts the classification tokens: receivers and features add less than a hundredth of the backbone's own."""
        return (2 * num_tokens + 2 + 2 * int(self.mlp_ratio)) * width**2 + 2 * num_tokens * width


FUSIONS: dict[str, Callable[..., Fusion]] = {
    "mctf": MCTF,
    "sum": functools.partial(ElementwiseFusion, combine=jnp.add),
    "multiply": functools.partial(ElementwiseFusion, combine=jnp.multiply),
    "concat": ConcatFusion,
    "self_attention": AttentionFusion,
    "cross_attention": functools.partial(AttentionFusion, cross=True),
    "attentive": AttentivePooling,
    "by_region": ByRegion,
    "none": NoFusion,
    "mctf_released": functools.partial(MCTF, released_reshape=True),
}
"""Fusions by the name that a configuration gives them: called with `dtype` and `name`, each makes its module."""
