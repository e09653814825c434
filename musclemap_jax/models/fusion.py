"""Fusion of a branch's two sets of class tokens (MCTF) and its alternatives.

Source: TransM3E (arXiv:2303.00952); `MCTF` and `CLSFusion` follow the released code's order of operations and
parameter names (token set 1 is the receiver set, 2 the classification set). The released code reads each attention
result (B, M, D) transposed in memory as if it were (B, M, D) again, which mixes tokens with channels: off by
default, `released_reshape=True` for its checkpoints.

Every fusion is called as fusion(classification, receiver, train=...) and returns one feature (B, D) a clip.

Letters of shapes: B clips, M class tokens in one set, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from musclemap_jax.errors import UserError
from musclemap_jax.models.layers.drop_path import drop_path_factors, scale_clips
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.linear import Mlp, dense

KINDS = ("mctf", "sum", "multiply", "concat", "self_attention", "cross_attention", "none")
NORM_EPSILON = 1e-5


class CLSFusion(nn.Module):
    """Attention within and between two sets of tokens: (B, M, D), (B, M, D) -> (B, M, D).

    With attention A_ij from the queries of set i to the keys of set j, set i's output is the sum of projections of
    A_ii V_i, A_12 V_i and A_21 V_i; both outputs are concatenated and projected.

    Attributes:
      scale: of the logits; D^-0.5 if None. The released class has 0.8 as its default; MCTF passes None.
      qkv_bias: whether queries, keys and values have a bias.
      released_reshape: mix tokens with channels as the released code does.
      dtype: of the computation; softmax is float32.
      param_dtype: of the parameters.
    """

    scale: float | None = 0.8
    qkv_bias: bool = True
    released_reshape: bool = False
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        width = first.shape[-1]
        scale = width**-0.5 if self.scale is None else self.scale

        def linear(name: str, x: jax.Array, use_bias: bool = True) -> jax.Array:
            return dense(width, name, self.dtype, self.param_dtype, use_bias=use_bias)(x)

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


class MCTF(nn.Module):
    """Multi-classification tokens fusion: mean of both sets + CLS-Fusion, norm, MLP, residual to the mean, mean over M.

    Attributes:
      scale: of CLS-Fusion's logits; D^-0.5 if None.
      qkv_bias: of CLS-Fusion.
      released_reshape: as in CLSFusion.
      mlp_ratio: hidden width of the MLP over D.
      dropout_rate: inside the MLP.
      drop_path_rate: chance that a clip skips the MLP in training.
      dtype: of the computation; norms' statistics and softmax are float32.
      param_dtype: of the parameters.
    """

    scale: float | None = None
    qkv_bias: bool = False
    released_reshape: bool = False
    mlp_ratio: float = 1.0
    dropout_rate: float = 0.0
    drop_path_rate: float = 0.2
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, classification: jax.Array, receiver: jax.Array | None, *, train: bool = False) -> jax.Array:
        """(B, M, D), (B, M, D) -> (B, D). Training needs the rng stream `dropout` where a rate is positive."""
        receiver = _required(receiver, "mctf")
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        mean = (receiver + classification) / 2
        fused = CLSFusion(self.scale, self.qkv_bias, self.released_reshape, name="attn_mixed_cls_tokens", **kinds)(
            _token_norm("norm1_token1", **kinds)(receiver), _token_norm("norm1_token2", **kinds)(classification)
        )
        self.sow("intermediates", "cls_fusion", fused)
        normed = _token_norm("norm2_pathway1", **kinds)(mean + fused)
        width = classification.shape[-1]
        (changed,) = Mlp(int(width * self.mlp_ratio), width, self.dropout_rate, name="mlp_pathway1", **kinds)(
            normed, train=train
        )
        self.sow("intermediates", "mlp", changed)
        factor = None
        if train and self.drop_path_rate > 0:
            rate = jnp.asarray([self.drop_path_rate], jnp.float32)
            factor = drop_path_factors(self.make_rng("dropout"), rate, mean.shape[0])[0]
        return jnp.mean(mean + scale_clips(changed, factor), axis=1)


class SimpleFusion(nn.Module):
    """The ablation's alternatives to MCTF, by name.

    `none`: mean of the classification tokens; `sum`, `multiply`: elementwise with the receiver tokens; `concat`: on
    channels, then a linear layer to D; `self_attention`: all 2M tokens attend to one another; `cross_attention`:
    classification tokens attend to receiver tokens. Both attentions have layer norm before, a residual, and
    `num_heads` heads. The mean over tokens follows in each.
    """

    kind: str
    num_heads: int = 1
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, classification: jax.Array, receiver: jax.Array | None, *, train: bool = False) -> jax.Array:
        """(B, M, D), (B, M, D) or None with `none` -> (B, D)."""
        del train
        if self.kind == "none":
            return jnp.mean(classification, axis=1)
        receiver = _required(receiver, self.kind)
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        if self.kind == "sum":
            y = classification + receiver
        elif self.kind == "multiply":
            y = classification * receiver
        elif self.kind == "concat":
            both = jnp.concatenate([classification, receiver], axis=-1)
            y = dense(classification.shape[-1], "proj", **kinds)(both)
        elif self.kind == "self_attention":
            both = jnp.concatenate([receiver, classification], axis=1)
            y = both + self._attention(self._normed("norm", both))
        else:
            y = classification + self._attention(
                self._normed("norm", classification), self._normed("norm_receiver", receiver)
            )
        return jnp.mean(y, axis=1)

    def _normed(self, name: str, x: jax.Array) -> jax.Array:
        norm = LayerNorm(
            epsilon=NORM_EPSILON,
            bias_init=nn.initializers.zeros,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )
        return norm(x)

    def _attention(self, queries: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        return nn.MultiHeadDotProductAttention(
            num_heads=self.num_heads,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            force_fp32_for_softmax=True,
            name="attn",
        )(queries, keys)


def make_fusion(
    kind: str,
    *,
    released_reshape: bool = False,
    drop_path_rate: float = 0.2,
    dtype: jnp.dtype = jnp.float32,
    param_dtype: jnp.dtype = jnp.float32,
    name: str | None = None,
) -> nn.Module:
    """The fusion of that name, to be called as fusion(classification, receiver, train=...) -> (B, D).

    Args:
      kind: one of KINDS.
      released_reshape: for `mctf`: mix tokens with channels as the released code does.
      drop_path_rate: for `mctf`.
      dtype: of the computation.
      param_dtype: of the parameters.
      name: of the module among its parent's.

    Raises:
      UserError: unknown kind, or `released_reshape` for another one than `mctf`.
    """
    if kind not in KINDS:
        raise UserError(f"fusion: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "mctf":
        return MCTF(
            released_reshape=released_reshape,
            drop_path_rate=drop_path_rate,
            dtype=dtype,
            param_dtype=param_dtype,
            name=name,
        )
    if released_reshape:
        raise UserError(f"released_reshape: expected fusion 'mctf', got {kind!r}: switch one of them off")
    return SimpleFusion(kind, dtype=dtype, param_dtype=param_dtype, name=name)


def _required(receiver: jax.Array | None, kind: str) -> jax.Array:
    if receiver is None:
        raise UserError(
            f"fusion {kind!r}: expected a receiver set beside the classification tokens, got none: give the branch "
            "receiver tokens or choose fusion 'none'"
        )
    return receiver


def _token_norm(name: str, dtype: jnp.dtype, param_dtype: jnp.dtype) -> LayerNorm:
    """Layer norm over tokens and channels together, with a weight and bias (M, D)."""
    return LayerNorm(
        num_axes=2,
        epsilon=NORM_EPSILON,
        bias_init=nn.initializers.zeros,
        dtype=dtype,
        param_dtype=param_dtype,
        name=name,
    )
