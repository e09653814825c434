"""Pooling attention and transformer block of MViTv2, class tokens and patches kept apart.

Source: MViTv2 (arXiv:2112.01526) as in PySlowFast's `slowfast/models/attention.py` (mode `conv`, width multiplied in
attention, residual pooling, decomposed relative positions). Parameter names are PySlowFast's.

Where we differ in form, not in value: class tokens and patches are two arrays, joined for keys and values alone, so
the long patch sequence is never concatenated or cut; keys and values are pooled by one convolution, with the queries
too where strides are equal; the relative position bias is part of the dot product (relative_position.py).
On TPU, patches are pooled and attend by kernels of our own (depthwise_kernel.py, flash_attention.py).

Letters of shapes: B clips, L class tokens of all sets, N patch tokens on the grid (T, H, W), D width.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from musclemap_jax.models.kernels.depthwise import Triple, depthwise_conv3d, max_pool3d
from musclemap_jax.models.kernels.depthwise_kernel import Group, grouped_depthwise
from musclemap_jax.models.kernels.depthwise_kernel import fits as depthwise_fits
from musclemap_jax.models.kernels.dot_product_attention import attend, attention_logits
from musclemap_jax.models.kernels.flash_attention import fits as flash_fits
from musclemap_jax.models.kernels.flash_attention import flash_attention
from musclemap_jax.models.layers.layers import WEIGHT_INIT, LayerNorm, Mlp, NormWeights, dense, layer_norm, scale_clips
from musclemap_jax.models.video.relative_position import key_coordinates, position_terms, table_length
from musclemap_jax.sharding.context import over_clips, vmem_capacity

NORM_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """One block, resolved from an MViTSpec.

    Attributes:
      dim_in: width of what comes in.
      dim_out: width of attention and of what goes out.
      num_heads: heads of attention.
      q_stride: of queries (and so of the grid) in time, height, width.
      kv_stride: of keys and values.
      grid: (T, H, W) that the tables of relative positions are made for; other grids interpolate them.
      pool_kernel: of the depthwise convolutions.
      mlp_ratio: hidden width of the MLP over dim_out.
      qkv_bias: whether queries, keys and values have a bias.
      dropout_rate: after attention's projection and in the MLP.
    """

    dim_in: int
    dim_out: int
    num_heads: int
    q_stride: Triple
    kv_stride: Triple
    grid: Triple
    pool_kernel: Triple
    mlp_ratio: float
    qkv_bias: bool
    dropout_rate: float

    @property
    def head_dim(self) -> int:
        return self.dim_out // self.num_heads

    @property
    def table_lengths(self) -> Triple:
        """Rows of the tables for time, height, width.

        As in PySlowFast, time counts the incoming frames and grids are divided rounding down (the real ones round
        up, so odd grids are interpolated). As in torchvision (PySlowFast knows squares alone), height and width have
        tables for the longer of both, so that weights keep their tables whatever the aspect.
        """
        time = table_length(self.grid[0], self.grid[0])
        longer = max(self.grid[1:])
        height, width = (
            table_length(max(longer // q, 1), max(longer // kv, 1))
            for q, kv in zip(self.q_stride[1:], self.kv_stride[1:], strict=True)
        )
        return (time, height, width)


class PoolingAttention(nn.Module):
    """Attention whose queries, keys and values are patches pooled by depthwise convolutions.

    Class tokens pass the convolutions by, have no relative positions and no residual pooling.
    """

    spec: BlockSpec
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, patches: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Attends.

        Args:
          tokens: (B, L, D) class tokens.
          patches: (B, T, H, W, D).
          train: dropout is on; needs the rng stream `dropout` where its rate is positive.

        Returns:
          (B, L, dim_out) and (B, T', H', W', dim_out) on the strided grid.
        """
        spec = self.spec
        project = dense(3 * spec.dim_out, "qkv", self.dtype, self.param_dtype, use_bias=spec.qkv_bias)
        q_tokens, q_patches, pairs, key_grid = self._pooled(project(tokens), project(patches))
        keys, values = (_heads_first(pairs[:, :, index]) for index in range(2))
        scale = spec.head_dim**-0.5

        terms = position_terms(q_patches, self._tables(), key_grid)
        places = jnp.asarray(key_coordinates(key_grid), keys.dtype)
        places = jnp.pad(places, ((tokens.shape[1], 0), (0, 0)))  # class tokens have no place
        vmem_bytes = vmem_capacity(tokens.shape[0])
        if flash_fits(keys.shape[2], *keys.shape[1::2], vmem_bytes) and not self.is_mutable_collection("intermediates"):
            operands = (_flat(q_patches), _flat(jnp.concatenate(terms, axis=-1)), pairs[:, :, 0], pairs[:, :, 1])
            from_patches = over_clips(functools.partial(flash_attention, vmem_bytes=vmem_bytes), operands, [places])
        else:
            placed_queries = _heads_first(jnp.concatenate([q_patches * scale, *terms], axis=-1))
            from_patches = self._attend(placed_queries, keys, values, places, "patch")
            from_patches = from_patches + _flat(q_patches)
        scaled_tokens = _heads_first(q_tokens * scale)
        from_tokens = self._attend(scaled_tokens, keys, values, places[:, :0], "token")
        self.sow("intermediates", "query", (q_tokens, q_patches))
        self.sow("intermediates", "key", pairs[:, :, 0])
        self.sow("intermediates", "value", pairs[:, :, 1])

        merge = dense(spec.dim_out, "proj", self.dtype, self.param_dtype)
        drop = nn.Dropout(spec.dropout_rate, deterministic=not train)
        new_tokens = drop(merge(from_tokens.reshape(*q_tokens.shape[:2], spec.dim_out)))
        new_patches = drop(merge(from_patches.reshape(*q_patches.shape[:4], spec.dim_out)))
        self.sow("intermediates", "output", (new_tokens, new_patches))
        return new_tokens, new_patches

    def _attend(
        self, queries: jax.Array, keys: jax.Array, values: jax.Array, places: jax.Array, name: str
    ) -> jax.Array:
        """`attend` with heads behind the sequence again; the logits are sown as `{name}_logits`."""
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", f"{name}_logits", attention_logits(queries, keys, places))
        return attend(queries, keys, values, places).swapaxes(1, 2)

    def _tables(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        return tuple(
            self.param(f"rel_pos_{axis}", WEIGHT_INIT, (length, self.spec.head_dim), self.param_dtype)
            for axis, length in zip("thw", self.spec.table_lengths, strict=True)
        )

    def _pooled(self, tokens: jax.Array, patches: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, Triple]:
        """Pools patches and normalises the heads.

        Args:
          tokens: (B, L, 3 dim_out), query, key and value behind one another.
          patches: (B, T, H, W, 3 dim_out).

        Returns:
          Queries of tokens (B, L, heads, c) and patches (B, T', H', W', heads, c); keys and values of both
          (B, L + N', 2, heads, c); the grid of the N' pooled keys.
        """
        spec = self.spec
        split, heads = spec.dim_out, (spec.num_heads, spec.head_dim)
        shape = (*spec.pool_kernel, spec.head_dim)
        kernels = [self.param(f"pool_{kind}", WEIGHT_INIT, shape, self.param_dtype) for kind in "qkv"]
        # One kernel serves all heads.
        kernel = jnp.concatenate([kernel for kernel in kernels for _ in range(spec.num_heads)], axis=-1)
        kernel = kernel.astype(self.dtype)
        groups = (Group(0, split, spec.q_stride), Group(split, 3 * split, spec.kv_stride))
        vmem_bytes = vmem_capacity(patches.shape[0])
        if depthwise_fits(patches.shape, spec.pool_kernel, groups, vmem_bytes):
            convolve = functools.partial(grouped_depthwise, groups=groups, vmem_bytes=vmem_bytes)
            queries, pairs = over_clips(convolve, [patches], [kernel])
        elif spec.q_stride == spec.kv_stride:
            queries, pairs = split_channels(depthwise_conv3d(patches, kernel, spec.q_stride), split)
        else:
            for_queries, for_pairs = split_channels(patches, split)
            queries = depthwise_conv3d(for_queries, kernel[..., :split], spec.q_stride)
            pairs = depthwise_conv3d(for_pairs, kernel[..., split:], spec.kv_stride)

        (q_scale, q_bias), *pair_weights = (
            NormWeights((spec.head_dim,), self.param_dtype, name=f"norm_{kind}")() for kind in "qkv"
        )
        q_tokens = layer_norm(tokens[..., :split].reshape(*tokens.shape[:2], *heads), q_scale, q_bias, 1, NORM_EPSILON)
        q_patches = layer_norm(queries.reshape(*queries.shape[:4], *heads), q_scale, q_bias, 1, NORM_EPSILON)
        joined = jnp.concatenate([tokens[..., split:], _flat(pairs)], axis=1)
        scale, bias = (
            jnp.broadcast_to(jnp.stack(weights)[:, None], (2, *heads)) for weights in zip(*pair_weights, strict=True)
        )
        joined = layer_norm(joined.reshape(*joined.shape[:2], 2, *heads), scale, bias, 1, NORM_EPSILON)
        return q_tokens, q_patches, joined, pairs.shape[1:4]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def split_channels(x: jax.Array, first: int) -> tuple[jax.Array, jax.Array]:
    """(..., D) to (..., first) and (..., D - first)."""
    return x[..., :first], x[..., first:]


split_channels.defvjp(
    lambda x, first: (split_channels(x, first), None),
    lambda first, _, parts: (jnp.concatenate(parts, axis=-1),),
)


def _flat(x: jax.Array) -> jax.Array:
    """(B, T, H, W, ...) -> (B, T * H * W, ...)."""
    return x.reshape(x.shape[0], -1, *x.shape[4:])


def _heads_first(x: jax.Array) -> jax.Array:
    """(B, ..., heads, c) -> (B, heads, N, c), N the product of what lies between."""
    return x.reshape(x.shape[0], -1, *x.shape[-2:]).swapaxes(1, 2)


class MViTBlock(nn.Module):
    """Pooling attention and MLP, each with a residual; the skip is widened and max pooled where attention is."""

    spec: BlockSpec
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        patches: jax.Array,
        drop_path: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the block.

        Args:
          tokens: (B, L, dim_in).
          patches: (B, T, H, W, dim_in).
          drop_path: (2, B) factors of the attention's and the MLP's branch; None: both are taken.
          train: dropout is on.

        Returns:
          (B, L, dim_out) and (B, T', H', W', dim_out).
        """
        spec = self.spec
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        after_attention, after_mlp = (None, None) if drop_path is None else drop_path

        normed = LayerNorm(name="norm1", **kinds)(tokens, patches)
        attended = PoolingAttention(spec, name="attn", **kinds)(*normed, train=train)
        if spec.dim_in != spec.dim_out:
            widen = dense(spec.dim_out, "proj", **kinds)
            tokens, patches = widen(normed[0]), widen(normed[1])
        if max(spec.q_stride) > 1:
            window = tuple(stride + 1 if stride > 1 else 1 for stride in spec.q_stride)
            patches = max_pool3d(patches, window, spec.q_stride)
        tokens = tokens + scale_clips(attended[0], after_attention)
        patches = patches + scale_clips(attended[1], after_attention)

        normed = LayerNorm(name="norm2", **kinds)(tokens, patches)
        mlp = Mlp(int(spec.dim_out * spec.mlp_ratio), spec.dim_out, spec.dropout_rate, name="mlp", **kinds)
        changed = mlp(*normed, train=train)
        tokens, patches = tokens + scale_clips(changed[0], after_mlp), patches + scale_clips(changed[1], after_mlp)
        self.sow("intermediates", "patches", patches)
        return tokens, patches
