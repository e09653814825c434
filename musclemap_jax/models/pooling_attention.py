"""Pooling attention and transformer block of MViTv2, class tokens and patches kept apart.

Source: MViTv2 (arXiv:2112.01526) as in PySlowFast's `slowfast/models/attention.py` (mode `conv`, width multiplied in
attention, residual pooling, decomposed relative positions). Parameter names are PySlowFast's.

Where we differ in form, not in value: class tokens and patches are two arrays, joined for keys and values alone, so
the long patch sequence is never concatenated or cut; keys and values are pooled by one convolution, with the queries
too where strides are equal; the relative position bias is part of the dot product (relative_position.py).

Letters of shapes: B clips, L class tokens of all sets, N patch tokens on the grid (T, H, W), D width.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from musclemap_jax.models.depthwise import Triple, depthwise_conv3d, max_pool3d, strided_grid
from musclemap_jax.models.relative_position import key_coordinates, position_terms, table_length

WEIGHT_INIT = nn.initializers.normal(0.02)
"""PySlowFast's trunc_normal_(std=0.02) cuts at +-2, a hundred deviations: a plain normal distribution."""

BIAS_INIT = nn.initializers.constant(0.02)
"""Bias of linear layers and layer norms at the start, as in PySlowFast."""

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
      drop_path_rate: chance that a clip skips one of the two residual branches.
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
    drop_path_rate: float

    @property
    def head_dim(self) -> int:
        return self.dim_out // self.num_heads

    @property
    def table_lengths(self) -> Triple:
        """Rows of the tables for time, height, width.

        As in PySlowFast, time counts the incoming frames and grids are divided rounding down (the real ones round
        up, so odd grids are interpolated).
        """
        time = table_length(self.grid[0], self.grid[0])
        height, width = (
            table_length(max(size // q, 1), max(size // kv, 1))
            for size, q, kv in zip(self.grid[1:], self.q_stride[1:], self.kv_stride[1:], strict=True)
        )
        return (time, height, width)


def dense(features: int, name: str, dtype: jnp.dtype, param_dtype: jnp.dtype, use_bias: bool = True) -> nn.Dense:
    """A linear layer with PySlowFast's initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=param_dtype,
        kernel_init=WEIGHT_INIT,
        bias_init=BIAS_INIT,
        name=name,
    )


def layer_norm(name: str, dtype: jnp.dtype, param_dtype: jnp.dtype) -> nn.LayerNorm:
    """Layer norm over the width, statistics in float32, with PySlowFast's initialisation."""
    return nn.LayerNorm(
        epsilon=NORM_EPSILON,
        dtype=dtype,
        param_dtype=param_dtype,
        bias_init=BIAS_INIT,
        use_fast_variance=False,
        name=name,
    )


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
        (q_tokens, k_tokens, v_tokens), (q_patches, k_patches, v_patches) = self._pooled(
            project(tokens), project(patches)
        )
        key_grid = k_patches.shape[1:4]
        grid = q_patches.shape[1:4]
        keys = jnp.concatenate([k_tokens, _flat(k_patches)], axis=1)
        values = jnp.concatenate([v_tokens, _flat(v_patches)], axis=1)
        scale = spec.head_dim**-0.5

        terms = position_terms(q_patches, self._tables(), key_grid)
        placed_queries = _flat(jnp.concatenate([q_patches * scale, *terms], axis=-1))
        from_patches = _attend(placed_queries, self._placed(keys, key_grid), values, self, "patch")
        from_patches = from_patches + _flat(q_patches)
        from_tokens = _attend(q_tokens * scale, keys, values, self, "token")
        self.sow("intermediates", "query", (q_tokens, q_patches))
        self.sow("intermediates", "key", keys)
        self.sow("intermediates", "value", values)

        merge = dense(spec.dim_out, "proj", self.dtype, self.param_dtype)
        drop = nn.Dropout(spec.dropout_rate, deterministic=not train)
        new_tokens = drop(merge(from_tokens.reshape(*from_tokens.shape[:2], spec.dim_out)))
        new_patches = drop(merge(from_patches.reshape(from_patches.shape[0], *grid, spec.dim_out)))
        self.sow("intermediates", "output", (new_tokens, new_patches))
        return new_tokens, new_patches

    def _tables(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        return tuple(
            self.param(f"rel_pos_{axis}", WEIGHT_INIT, (length, self.spec.head_dim), self.param_dtype)
            for axis, length in zip("thw", self.spec.table_lengths, strict=True)
        )

    def _pooled(self, tokens: jax.Array, patches: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        """Pools and normalises: tokens as (B, L, heads, c), patches as (B, T', H', W', heads, c), each for q, k, v."""
        spec = self.spec
        shape = (*spec.pool_kernel, spec.head_dim)
        kernels = [self.param(f"pool_{kind}", WEIGHT_INIT, shape, self.param_dtype) for kind in "qkv"]
        # One kernel serves all heads.
        kernels = [jnp.tile(kernel.astype(self.dtype), (1, 1, 1, spec.num_heads)) for kernel in kernels]
        if spec.q_stride == spec.kv_stride:
            parts = jnp.split(depthwise_conv3d(patches, jnp.concatenate(kernels, axis=-1), spec.q_stride), 3, axis=-1)
        else:
            split = spec.dim_out
            query = depthwise_conv3d(patches[..., :split], kernels[0], spec.q_stride)
            pair = depthwise_conv3d(patches[..., split:], jnp.concatenate(kernels[1:], axis=-1), spec.kv_stride)
            parts = [query, *jnp.split(pair, 2, axis=-1)]
        heads = (spec.num_heads, spec.head_dim)
        norms = [layer_norm(f"norm_{kind}", self.dtype, self.param_dtype) for kind in "qkv"]
        pooled_tokens = [
            norm(part.reshape(*part.shape[:-1], *heads))
            for norm, part in zip(norms, jnp.split(tokens, 3, axis=-1), strict=True)
        ]
        pooled_patches = [norm(part.reshape(*part.shape[:-1], *heads)) for norm, part in zip(norms, parts, strict=True)]
        return pooled_tokens, pooled_patches

    def _placed(self, keys: jax.Array, key_grid: Triple) -> jax.Array:
        """Keys with their one-hot coordinates behind the channels; zeros for class tokens."""
        places = jnp.asarray(key_coordinates(key_grid), keys.dtype)
        places = jnp.pad(places, ((keys.shape[1] - places.shape[0], 0), (0, 0)))
        shape = (*keys.shape[:3], places.shape[1])
        return jnp.concatenate([keys, jnp.broadcast_to(places[None, :, None, :], shape)], axis=-1)


def _flat(x: jax.Array) -> jax.Array:
    """(B, T, H, W, ...) -> (B, T * H * W, ...)."""
    return x.reshape(x.shape[0], -1, *x.shape[4:])


def _attend(queries: jax.Array, keys: jax.Array, values: jax.Array, module: nn.Module, name: str) -> jax.Array:
    """Softmax attention; (B, N, heads, c) each; softmax in float32; logits are sown for `module` under `name`."""
    logits = jnp.einsum("bqhc,bkhc->bhqk", queries, keys, preferred_element_type=jnp.float32)
    module.sow("intermediates", f"{name}_logits", logits)
    weights = jax.nn.softmax(logits, axis=-1).astype(values.dtype)
    return jnp.einsum("bhqk,bkhc->bqhc", weights, values)


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    hidden: int
    features: int
    dropout_rate: float = 0.0
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, *inputs: jax.Array, train: bool = False) -> tuple[jax.Array, ...]:
        """Applies the same layers to each input (..., D); returns as many outputs (..., features)."""
        first = dense(self.hidden, "fc1", self.dtype, self.param_dtype)
        second = dense(self.features, "fc2", self.dtype, self.param_dtype)
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        return tuple(drop(second(drop(jax.nn.gelu(first(x), approximate=False)))) for x in inputs)


def drop_path_factor(module: nn.Module, rate: float, batch_size: int, train: bool) -> jax.Array | None:
    """Stochastic depth for one residual branch: (B,) float32 of 0 or 1 / (1 - rate), one draw a clip.

    None when nothing is dropped. Draws from the rng stream `dropout` of `module`.
    """
    if not train or rate == 0.0:
        return None
    keep = 1.0 - rate
    return jax.random.bernoulli(module.make_rng("dropout"), keep, (batch_size,)).astype(jnp.float32) / keep


def scale_clips(x: jax.Array, factor: jax.Array | None) -> jax.Array:
    """Multiplies each clip of x (B, ...) by its factor (B,); None leaves x as it is."""
    if factor is None:
        return x
    return x * factor.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


class MViTBlock(nn.Module):
    """Pooling attention and MLP, each with a residual; the skip is widened and max pooled where attention is."""

    spec: BlockSpec
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, patches: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """(B, L, dim_in) and (B, T, H, W, dim_in) -> (B, L, dim_out) and (B, T', H', W', dim_out)."""
        spec = self.spec
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        batch_size = tokens.shape[0]

        norm1 = layer_norm("norm1", **kinds)
        normed = norm1(tokens), norm1(patches)
        attended = PoolingAttention(spec, name="attn", **kinds)(*normed, train=train)
        if spec.dim_in != spec.dim_out:
            widen = dense(spec.dim_out, "proj", **kinds)
            tokens, patches = widen(normed[0]), widen(normed[1])
        if max(spec.q_stride) > 1:
            window = tuple(stride + 1 if stride > 1 else 1 for stride in spec.q_stride)
            patches = max_pool3d(patches, window, spec.q_stride)
        factor = drop_path_factor(self, spec.drop_path_rate, batch_size, train)
        tokens = tokens + scale_clips(attended[0], factor)
        patches = patches + scale_clips(attended[1], factor)

        norm2 = layer_norm("norm2", **kinds)
        mlp = Mlp(int(spec.dim_out * spec.mlp_ratio), spec.dim_out, spec.dropout_rate, name="mlp", **kinds)
        changed = mlp(norm2(tokens), norm2(patches), train=train)
        factor = drop_path_factor(self, spec.drop_path_rate, batch_size, train)
        return tokens + scale_clips(changed[0], factor), patches + scale_clips(changed[1], factor)


def pooled_grid(spec: BlockSpec, grid: Triple) -> Triple:
    """Grid after a block, for the real (T, H, W) that comes in."""
    return strided_grid(grid, spec.q_stride)
