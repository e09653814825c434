"""Pooling attention and transformer block of MViTv2, with separate arrays of class tokens and patches.

Source: MViTv2 (arXiv:2112.01526) as in PySlowFast's `slowfast/models/attention.py` (mode `conv`, width multiplied in
attention, residual pooling, decomposed relative positions). Parameter names are PySlowFast's.

We differ in form, not in value: class tokens and patches are concatenated only for keys and values, so the long patch
sequence is never copied or sliced; keys and values are pooled by one convolution, together with the queries
where strides are equal; the relative position bias is part of the dot product (relative_position.py).
On TPU, patches are pooled and attend in our own kernels (depthwise_conv_tpu.py, flash_attention_tpu.py).

Letters of shapes: B clips, L class tokens of all sets, N patch tokens on the grid (T, H, W), D width, c width of a
head; 2 marks the strided grid and the width of a block's output.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.backbone import READ_PATCHES
from musclemap_jax.models.kernels.depthwise_conv import depthwise_conv3d
from musclemap_jax.models.kernels.depthwise_conv_tpu import ChannelGroup, grouped_depthwise, grouped_depthwise_fits
from musclemap_jax.models.kernels.dot_product_attention import attend, attention_logits
from musclemap_jax.models.kernels.flash_attention_tpu import flash_attention, flash_attention_fits
from musclemap_jax.models.kernels.fused_mlp_tpu import fused_mlp, fused_mlp_fits
from musclemap_jax.models.kernels.max_pool import max_pool3d
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.layers.drop_path import scale_clips
from musclemap_jax.models.layers.initializers import WEIGHT_INIT
from musclemap_jax.models.layers.layer_norm import LayerNorm, LayerNormParams, layer_norm
from musclemap_jax.models.layers.linear import Mlp, dense
from musclemap_jax.models.layers.tap import tap
from musclemap_jax.models.video.relative_position import (
    key_coordinates,
    position_embeddings,
    position_terms,
    table_length,
)
from musclemap_jax.sharding.context import over_clips, shards_widths, vmem_capacity

NORM_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """One block, resolved from an MViTSpec.

    Attributes:
      dim_in: Width of the input.
      dim_out: Width of attention and of the output.
      num_heads: The number of attention heads.
      q_stride: Stride of queries (and so of the grid) in time, height, width.
      kv_stride: Stride of keys and values.
      grid: (T, H, W) that the tables of relative positions are made for; for other grids they are interpolated.
      pool_kernel: As in MViTSpec, like what follows; the MLP's hidden width is mlp_ratio times dim_out.
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

        As in PySlowFast, time counts the frames of the input and grids are divided rounding down (the actual ones round
        up, so odd grids are interpolated). As in torchvision (PySlowFast supports only squares), height and width both
        have tables for the longer side, so that weights keep their tables whatever the aspect ratio.
        """
        longer = max(self.grid[1:])
        height, width = (
            table_length(max(longer // q, 1), max(longer // kv, 1))
            for q, kv in zip(self.q_stride[1:], self.kv_stride[1:], strict=True)
        )
        return table_length(self.grid[0], self.grid[0]), height, width


class PoolingAttention(nn.Module):
    """Attention whose queries, keys and values are patches pooled by depthwise convolutions.

    Class tokens bypass the convolutions; they have no relative positions and no residual pooling.
    """

    spec: BlockSpec
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "B L D"], patches: Float[Array, "B T H W D"], *, train: bool = False
    ) -> tuple[Float[Array, "B L D2"], Float[Array, "B T2 H2 W2 D2"]]:
        """Attends; `train` turns dropout on, which needs the rng stream `dropout` if its rate is positive."""
        spec = self.spec
        project = dense(3 * spec.dim_out, "qkv", self.dtype, use_bias=spec.qkv_bias)
        projected = project(tokens), project(patches)
        queries, keys_values = self._pool(projected[1])
        norms = [LayerNormParams((spec.head_dim,), name=f"norm_{kind}")() for kind in "qkv"]
        vmem_bytes = vmem_capacity(tokens.shape[0])
        grids = queries.shape[1:4], keys_values.shape[1:4]
        sizes = tokens.shape[1] + math.prod(grids[1]), spec.num_heads, spec.head_dim
        fits = flash_attention_fits(*sizes, sum(q * k for q, k in zip(*grids, strict=True)), vmem_bytes)
        if fits and not self.is_mutable_collection("intermediates"):
            new_tokens, new_patches = self._attend_on_tpu(projected[0], queries, keys_values, norms, vmem_bytes)
        else:
            new_tokens, new_patches = self._attend_by_xla(projected[0], queries, keys_values, norms)

        merge = dense(spec.dim_out, "proj", self.dtype)
        drop = nn.Dropout(spec.dropout_rate, deterministic=not train)
        new_tokens = drop(merge(new_tokens.reshape(*tokens.shape[:2], spec.dim_out)))
        new_patches = drop(merge(new_patches.reshape(*queries.shape[:4], spec.dim_out)))
        self.sow("intermediates", "output", (new_tokens, new_patches))
        return new_tokens, new_patches

    def _attend_on_tpu(
        self, tokens: jax.Array, queries: jax.Array, keys_values: jax.Array, norms: list, vmem_bytes: int
    ) -> tuple[jax.Array, jax.Array]:
        """Attention in our own kernel; arguments and results as in `_attend_by_xla`, but with flat heads."""
        dim, grids = self.spec.dim_out, (queries.shape[1:4], keys_values.shape[1:4])
        embeddings = [position_embeddings(*sizes) for sizes in zip(self._tables(), *grids, strict=True)]
        embeddings = jnp.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in embeddings]).astype(queries.dtype)
        q_tokens, *kv_tokens = jnp.split(tokens, 3, axis=-1)
        kv_patches = split_channels(_flatten_grid(keys_values), dim)
        keys, values = (jnp.concatenate(pair, axis=1) for pair in zip(kv_tokens, kv_patches, strict=True))
        attend_on_tpu = functools.partial(
            flash_attention, query_grid=grids[0], key_grid=grids[1], epsilon=NORM_EPSILON, vmem_bytes=vmem_bytes
        )
        shared = jnp.stack([param for pair in norms for param in pair]), embeddings
        patches, new_tokens = over_clips(attend_on_tpu, [_flatten_grid(queries), q_tokens, keys, values], shared)
        return new_tokens, patches

    def _attend_by_xla(
        self, tokens: jax.Array, queries: jax.Array, keys_values: jax.Array, norms: list
    ) -> tuple[jax.Array, jax.Array]:
        """Attention of class tokens and of patches.

        Args:
          tokens: Projected (B, L, 3 dim_out).
          queries: Pooled queries of patches (B, T2, H2, W2, dim_out).
          keys_values: Their pooled keys and values, likewise on their grid.
          norms: Scale and bias of the norms of queries, keys and values.

        Returns:
          New tokens (B, L, heads, c) and patches (B, N2, heads, c).
        """
        spec, key_grid = self.spec, keys_values.shape[1:4]
        q_tokens, q_patches, keys_values = self._normalise(tokens, queries, keys_values, norms)
        keys, values = (_heads_first(keys_values[:, :, index]) for index in range(2))
        scale = spec.head_dim**-0.5
        terms = position_terms(q_patches, self._tables(), key_grid)
        key_one_hot = jnp.asarray(key_coordinates(key_grid), keys.dtype)
        key_one_hot = jnp.pad(key_one_hot, ((tokens.shape[1], 0), (0, 0)))  # class tokens have no position
        extended_queries = _heads_first(jnp.concatenate([q_patches * scale, *terms], axis=-1))
        new_patches = self._attend(extended_queries, keys, values, key_one_hot, "patch")
        new_patches = new_patches + _flatten_grid(q_patches)
        scaled_tokens = _heads_first(q_tokens * scale)
        new_tokens = self._attend(scaled_tokens, keys, values, key_one_hot[:, :0], "token")
        self.sow("intermediates", "query", (q_tokens, q_patches))
        self.sow("intermediates", "key", keys_values[:, :, 0])
        self.sow("intermediates", "value", keys_values[:, :, 1])
        return new_tokens, new_patches

    def _attend(
        self, queries: jax.Array, keys: jax.Array, values: jax.Array, key_one_hot: jax.Array, name: str
    ) -> jax.Array:
        """`attend`, returning heads after the sequence; sows the logits as `{name}_logits`."""
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", f"{name}_logits", attention_logits(queries, keys, key_one_hot))
        return attend(queries, keys, values, key_one_hot).swapaxes(1, 2)

    def _tables(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        time, height, width = (
            self.param(f"rel_pos_{axis}", WEIGHT_INIT, (length, self.spec.head_dim), jnp.float32)
            for axis, length in zip("thw", self.spec.table_lengths, strict=True)
        )
        return time, height, width

    def _pool(self, patches: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Pools queries (B, T2, H2, W2, dim_out), and keys and values together, of patches (B, T, H, W, 3 dim_out)."""
        spec, split = self.spec, self.spec.dim_out
        shape = (*spec.pool_kernel, spec.head_dim)
        kernels = [self.param(f"pool_{kind}", WEIGHT_INIT, shape, jnp.float32) for kind in "qkv"]
        # One kernel serves all heads.
        kernel = jnp.concatenate([kernel for kernel in kernels for _ in range(spec.num_heads)], axis=-1)
        kernel = kernel.astype(self.dtype)
        groups = (ChannelGroup(0, split, spec.q_stride), ChannelGroup(split, 3 * split, spec.kv_stride))
        vmem_bytes = vmem_capacity(patches.shape[0])
        if grouped_depthwise_fits(patches.shape, spec.pool_kernel, groups, vmem_bytes):
            convolve = functools.partial(grouped_depthwise, groups=groups, vmem_bytes=vmem_bytes)
            queries, keys_values = over_clips(convolve, [patches], [kernel])
        elif spec.q_stride == spec.kv_stride:
            queries, keys_values = split_channels(depthwise_conv3d(patches, kernel, spec.q_stride), split)
        else:
            queries, keys_values = split_channels(patches, split)
            queries = depthwise_conv3d(queries, kernel[..., :split], spec.q_stride)
            keys_values = depthwise_conv3d(keys_values, kernel[..., split:], spec.kv_stride)
        return queries, keys_values

    def _normalise(
        self, tokens: jax.Array, queries: jax.Array, keys_values: jax.Array, norms: list
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Normalises heads.

        Returns:
          Queries of tokens (B, L, heads, c) and patches (B, T2, H2, W2, heads, c); keys and values of both
          (B, L + N2, 2, heads, c).
        """
        split, heads = self.spec.dim_out, (self.spec.num_heads, self.spec.head_dim)
        (q_scale, q_bias), *kv_params = norms
        q_tokens = layer_norm(tokens[..., :split].reshape(*tokens.shape[:2], *heads), q_scale, q_bias, 1, NORM_EPSILON)
        q_patches = layer_norm(queries.reshape(*queries.shape[:4], *heads), q_scale, q_bias, 1, NORM_EPSILON)
        joined = jnp.concatenate([tokens[..., split:], _flatten_grid(keys_values)], axis=1)
        scale, bias = (
            jnp.broadcast_to(jnp.stack(params)[:, None], (2, *heads)) for params in zip(*kv_params, strict=True)
        )
        joined = layer_norm(joined.reshape(*joined.shape[:2], 2, *heads), scale, bias, 1, NORM_EPSILON)
        return q_tokens, q_patches, joined


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def split_channels(x: Float[Array, "*grid D"], first: int) -> tuple[Float[Array, "*grid _"], Float[Array, "*grid _"]]:
    """Splits the channels; its gradient is one concatenation."""
    return x[..., :first], x[..., first:]


split_channels.defvjp(
    lambda x, first: (split_channels(x, first), None),
    lambda first, _, parts: (jnp.concatenate(parts, axis=-1),),
)


def _flatten_grid(x: jax.Array) -> jax.Array:
    """(B, T, H, W, ...) -> (B, T * H * W, ...)."""
    return x.reshape(x.shape[0], -1, *x.shape[4:])


def _heads_first(x: jax.Array) -> jax.Array:
    """(B, ..., heads, c) -> (B, heads, N, c), with N the product of the axes between."""
    return x.reshape(x.shape[0], -1, *x.shape[-2:]).swapaxes(1, 2)


def fused_mlp_of_layers(
    norm: LayerNorm, mlp: Mlp, x: Float[Array, "B N D"], factor: Float[Array, " B"] | None, vmem_bytes: int
) -> Float[Array, "B N D"]:
    """x plus each clip's factor (1 if None) times the MLP of the norm of x, by `fused_mlp`; both were called before."""
    of_norm, of_mlp = norm.variables["params"], mlp.variables["params"]
    first, second = ((of_mlp[name]["kernel"].astype(x.dtype), of_mlp[name]["bias"]) for name in ("fc1", "fc2"))
    factor = jnp.ones(x.shape[0]) if factor is None else factor
    function = functools.partial(fused_mlp, epsilon=norm.epsilon, vmem_bytes=vmem_bytes)
    return over_clips(function, [x, factor], [of_norm["scale"], of_norm["bias"], *first, *second])


class MViTBlock(nn.Module):
    """Pooling attention and MLP, each with a residual; the skip is projected and max pooled like attention's output."""

    spec: BlockSpec
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "B L D"],
        patches: Float[Array, "B T H W D"],
        drop_path: Float[Array, "2 B"] | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "B L D2"], Float[Array, "B T2 H2 W2 D2"]]:
        """Applies the block; `drop_path` multiplies the attention's and the MLP's branch, None keeps both."""
        spec = self.spec
        patches = tap(self, READ_PATCHES, patches)
        attention_factor, mlp_factor = (None, None) if drop_path is None else drop_path

        norm = LayerNorm(dtype=self.dtype, name="norm1")
        normed = norm(tokens), norm(patches)
        attended = PoolingAttention(spec, self.dtype, name="attn")(*normed, train=train)
        if spec.dim_in != spec.dim_out:
            project = dense(spec.dim_out, "proj", self.dtype)
            tokens, patches = project(normed[0]), project(normed[1])
        if max(spec.q_stride) > 1:
            window = tuple(stride + 1 if stride > 1 else 1 for stride in spec.q_stride)
            patches = max_pool3d(patches, window, spec.q_stride)
        tokens = tokens + scale_clips(attended[0], attention_factor)
        patches = patches + scale_clips(attended[1], attention_factor)

        norm, hidden = LayerNorm(dtype=self.dtype, name="norm2"), int(spec.dim_out * spec.mlp_ratio)
        mlp = Mlp(hidden, spec.dim_out, spec.dropout_rate, self.dtype, name="mlp")
        drops_out = train and spec.dropout_rate > 0
        vmem_bytes = 0 if drops_out or shards_widths() else vmem_capacity(tokens.shape[0])
        if fused_mlp_fits(spec.dim_out, hidden, vmem_bytes):
            (update,) = mlp(norm(tokens), train=train)
            new_patches = fused_mlp_of_layers(norm, mlp, _flatten_grid(patches), mlp_factor, vmem_bytes)
            tokens, patches = tokens + scale_clips(update, mlp_factor), new_patches.reshape(patches.shape)
        else:
            updates = mlp(norm(tokens), norm(patches), train=train)
            tokens = tokens + scale_clips(updates[0], mlp_factor)
            patches = patches + scale_clips(updates[1], mlp_factor)
        self.sow("intermediates", "patches", patches)
        return tokens, patches
