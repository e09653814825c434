"""Fused pooling attention for TPU: norms, relative positions, logits and weights stay in fast memory (VMEM).

MViTv2 pools its keys (arXiv:2112.01526), so all keys of a head fit into VMEM: a block of queries sees every key at once
and no running maximum is kept (unlike in FlashAttention, arXiv:2205.14135, whose idea this is). The backward pass
recomputes everything from the pooled queries, keys and values, so only these are kept between the two passes.

    q, k, v = norm(queries), norm(keys), norm(values)            (each head by itself)
    patches: softmax(scale q k^T + bias) v + q                   (the last term: MViTv2's residual pooling)
    class tokens: softmax(scale q k^T) v

The bias is that of relative_position.py: bias = terms key_one_hot^T, where a query's terms are its products with the
embeddings of its own place. Here it is multiplied by the embeddings of all places, and those of other places are masked
out: a gather would be slow, and as operations of their own the terms move more bytes than attention does.

Names of axes: B clips, queries, tokens (queries of class tokens), keys (of class tokens, then of patches), D width,
heads, c width of a head, e coordinates of the keys' grid (T + H + W), p pairs of a query's and a key's coordinate.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.block_traffic import moved_bytes
from musclemap_jax.models.kernels.sliding_windows import Axes
from musclemap_jax.models.kernels.tpu_matmul import contract, standardise, standardise_gradient
from musclemap_jax.models.kernels.tpu_tiles import NUM_LANES, NUM_ROWS, VMEM_FRACTION, block_of_rows, round_up

MAX_QUERY_BLOCK = 256
"""Most queries of a step."""

MAX_BLOCK_LOGITS = 1 << 18
"""Most logits of a step: several arrays of their size are in VMEM at once."""

MAX_GROUP_ELEMENTS = 1664 * 512
"""Most elements of the keys of a group of heads; keys, values and the gradients of both are in VMEM."""

MASKED_LOGIT = -1e30
"""Logit of a key that pads a tile."""

_NORMS = "q k v "
"""Where the rows of scale and bias of each norm begin in the array of all."""

_OPERANDS = "qtkk-----"
"""What each operand is shaped like: queries, tokens, keys, or - for arrays that stay in VMEM."""


class _Config(NamedTuple):
    """Static settings.

    Heads in a group, width c of a head, keys and queries without padding, queries in a step, their grid, the pairs of
    each axis, the norms' epsilon, bytes of VMEM.
    """

    heads: int
    head_dim: int
    num_keys: int
    num_queries: int
    block: int
    grid: Axes
    pairs: Axes
    epsilon: float
    vmem_bytes: int | None

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5

    def lanes(self, head: int) -> slice:
        """The channels of a head in its group."""
        return slice(head * self.head_dim, (head + 1) * self.head_dim)


def flash_attention(
    queries: Float[Array, "B queries D"],
    tokens: Float[Array, "B tokens D"],
    keys: Float[Array, "B keys D"],
    values: Float[Array, "B keys D"],
    norms: Float[Array, "6 c"],
    embeddings: Float[Array, "p c"],
    *,
    query_grid: Axes,
    key_grid: Axes,
    epsilon: float,
    vmem_bytes: int | None,
) -> tuple[Float[Array, "B queries D"], Float[Array, "B tokens D"]]:
    """Attention of patches and of class tokens, with norms and relative positions; softmax and norms are float32.

    Args:
      queries: Pooled queries of the patches, in row-major order of the grid; not normalised, like what follows.
      tokens: Queries of the class tokens.
      keys: Of the class tokens, then of the patches.
      values: Likewise.
      norms: Scale and bias of the norms of queries, keys and values, float32.
      embeddings: For time, height and width one after another, and each coordinate of the queries and of the keys
        (`position_embeddings`), in the dtype of the queries.
      query_grid: (T, H, W) of the queries.
      key_grid: (T, H, W) of the keys that follow those of the class tokens.
      epsilon: Of the norms.
      vmem_bytes: The chip's; None runs the kernels in interpret mode, on any platform (for tests).

    Returns:
      New patches and new class tokens, in the dtype of the queries.
    """
    num_queries, head_dim = queries.shape[1], embeddings.shape[1]
    num_heads, num_keys, num_tokens = queries.shape[2] // head_dim, keys.shape[1], tokens.shape[1]
    rows = round_up(num_keys, NUM_LANES)
    config = _Config(
        heads=_heads_per_group(num_heads, head_dim, rows),
        head_dim=head_dim,
        num_keys=num_keys,
        num_queries=num_queries,
        block=block_of_rows(num_queries, min(MAX_QUERY_BLOCK, MAX_BLOCK_LOGITS // rows)),
        grid=tuple(query_grid),
        pairs=tuple(q * k for q, k in zip(query_grid, key_grid, strict=True)),
        epsilon=epsilon,
        vmem_bytes=vmem_bytes,
    )
    fold, one_hot, places = _constants(tuple(query_grid), tuple(key_grid), rows, num_tokens)
    patches, new_tokens = _attention(
        config,
        queries,
        _pad_rows(tokens, NUM_ROWS),
        _pad_rows(keys, NUM_LANES),
        _pad_rows(values, NUM_LANES),
        norms,
        embeddings,
        jnp.asarray(fold, queries.dtype),
        jnp.asarray(one_hot, queries.dtype),
        jnp.asarray(places),
    )
    return patches, new_tokens[:, :num_tokens]


@functools.lru_cache(maxsize=64)
def _constants(query_grid: Axes, key_grid: Axes, rows: int, num_tokens: int) -> tuple[np.ndarray, ...]:
    """What the positions need, float32.

    (p, e): the key's coordinate of each pair, one-hot; (rows, e): the coordinates of each key, one-hot, with zeros for
    class tokens and padding; (1, p): the query's coordinate of each pair.
    """
    one_hot = np.zeros((rows, sum(key_grid)), np.float32)
    fold, places, start = [], [], 0
    for axis, (q, k) in enumerate(zip(query_grid, key_grid, strict=True)):
        coordinate = np.indices(key_grid)[axis].reshape(-1)
        one_hot[num_tokens + np.arange(coordinate.size), start + coordinate] = 1.0
        fold.append(np.eye(sum(key_grid), dtype=np.float32)[start + np.tile(np.arange(k), q)])
        places.append(np.repeat(np.arange(q, dtype=np.float32), k))
        start += k
    return np.concatenate(fold), one_hot, np.concatenate(places)[None]


def flash_attention_fits(num_keys: int, num_heads: int, head_dim: int, num_pairs: int, vmem_bytes: int) -> bool:
    """Whether the keys and values of a group of heads, with what the backward pass makes of them, fit into VMEM."""
    rows = round_up(num_keys, NUM_LANES)
    width = round_up(_heads_per_group(num_heads, head_dim, rows) * head_dim, NUM_LANES)
    # Keys, values and both gradients, double-buffered; both normalised; float32 sums; logits and products of pairs.
    steps = 5 * 4 * (MAX_BLOCK_LOGITS + MAX_QUERY_BLOCK * round_up(num_pairs, NUM_LANES))
    return (8 * 2 + 2 * 2 + 2 * 4) * rows * width + steps <= VMEM_FRACTION * vmem_bytes


def _pad_rows(x: jax.Array, multiple: int) -> jax.Array:
    missing = round_up(x.shape[1], multiple) - x.shape[1]
    return jnp.pad(x, ((0, 0), (0, missing), (0, 0))) if missing else x


def _heads_per_group(num_heads: int, head_dim: int, num_keys: int) -> int:
    """As many heads as fit into VMEM; their channels are whole tiles, unless the group contains all heads."""
    sizes = [size for size in range(1, num_heads) if num_heads % size == 0 and size * head_dim % NUM_LANES == 0]
    fitting = [size for size in (*sizes, num_heads) if size * head_dim * num_keys <= MAX_GROUP_ELEMENTS]
    return max(fitting, default=min(sizes, default=num_heads))


class _Normed(NamedTuple):
    """Rows of one head, normalised in the dtype of the products, and what the gradient of the norm needs."""

    value: jax.Array
    standard: jax.Array
    inverse: jax.Array


def _norm(config: _Config, x: jax.Array, norms_ref, name: str) -> _Normed:
    row = _NORMS.index(name)
    standard, inverse = standardise(x.astype(jnp.float32), config.epsilon)
    value = standard * norms_ref[row : row + 1, :] + norms_ref[row + 1 : row + 2, :]
    return _Normed(value.astype(x.dtype), standard, inverse)


def _norm_gradient(dy: jax.Array, x: _Normed, norms_ref, d_norms_ref, name: str) -> jax.Array:
    """The gradient of the rows before the norm; adds to the gradients of scale and bias."""
    row = _NORMS.index(name)
    d_norms_ref[row : row + 1, :] += jnp.sum(dy * x.standard, axis=0, keepdims=True)
    d_norms_ref[row + 1 : row + 2, :] += jnp.sum(dy, axis=0, keepdims=True)
    return standardise_gradient(dy * norms_ref[row : row + 1, :], x.standard, x.inverse)


def _own_pairs(config: _Config, places_ref) -> jax.Array:
    """Which pairs are of a query's own place: (block, p)."""
    _, height, width = config.grid
    first = pl.program_id(2) * config.block
    number = (first + lax.broadcasted_iota(jnp.int32, (config.block, 1), 0)).astype(jnp.float32)
    # Vectors have no integer division; half a step keeps the quotient away from the next whole number.
    time = jnp.floor((number + 0.5) * (1.0 / (height * width)))
    in_frame = number - time * (height * width)
    row = jnp.floor((in_frame + 0.5) * (1.0 / width))
    column = in_frame - row * width
    pair = lax.broadcasted_iota(jnp.int32, (1, places_ref.shape[1]), 1)
    in_time, in_height = pair < config.pairs[0], pair < config.pairs[0] + config.pairs[1]
    return jnp.where(in_time, time, jnp.where(in_height, row, column)) == places_ref[...]


def _softmax(config: _Config, logits: jax.Array) -> jax.Array:
    key = lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    logits = jnp.where(key < config.num_keys, logits, MASKED_LOGIT)
    powers = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    return powers / jnp.sum(powers, axis=1, keepdims=True)


def _bias(q: jax.Array, own: jax.Array, embeddings_ref, fold_ref, one_hot_ref) -> jax.Array:
    """Relative positions of a block's logits: (block, K) float32."""
    products = jnp.where(own, contract(q, embeddings_ref[...], 1, 1), 0.0).astype(q.dtype)
    terms = contract(products, fold_ref[...], 1, 0).astype(q.dtype)
    return contract(terms, one_hot_ref[...], 1, 1)


def _rows(config: _Config, ref) -> jax.Array:
    """A block of queries, or of an array of their shape; zeros beyond the last query, where memory is undefined."""
    row = pl.program_id(2) * config.block + lax.broadcasted_iota(jnp.int32, ref.shape[1:], 0)
    return jnp.where(row < config.num_queries, ref[0].astype(jnp.float32), 0.0).astype(ref.dtype)


def _normalise_keys(config: _Config, k_ref, v_ref, norms_ref, k_normed, v_normed) -> None:
    for head in range(config.heads):
        lanes = config.lanes(head)
        k_normed[:, lanes] = _norm(config, k_ref[0, :, lanes], norms_ref, "k").value
        v_normed[:, lanes] = _norm(config, v_ref[0, :, lanes], norms_ref, "v").value


def _forward_kernel(
    config: _Config, q_ref, t_ref, k_ref, v_ref, norms_ref, embeddings_ref, fold_ref, one_hot_ref, places_ref, *refs
) -> None:
    out_ref, t_out_ref, k_normed, v_normed = refs

    @pl.when(pl.program_id(2) == 0)
    def _start() -> None:
        _normalise_keys(config, k_ref, v_ref, norms_ref, k_normed, v_normed)
        for head in range(config.heads):
            lanes = config.lanes(head)
            q = _norm(config, t_ref[0, :, lanes], norms_ref, "q").value
            weights = _softmax(config, contract(q, k_normed[:, lanes], 1, 1) * config.scale)
            t_out_ref[0, :, lanes] = contract(weights.astype(q.dtype), v_normed[:, lanes], 1, 0).astype(q.dtype)

    rows, own = _rows(config, q_ref), _own_pairs(config, places_ref)
    for head in range(config.heads):
        lanes = config.lanes(head)
        q = _norm(config, rows[:, lanes], norms_ref, "q").value
        logits = contract(q, k_normed[:, lanes], 1, 1) * config.scale
        weights = _softmax(config, logits + _bias(q, own, embeddings_ref, fold_ref, one_hot_ref))
        out = contract(weights.astype(q.dtype), v_normed[:, lanes], 1, 0) + q.astype(jnp.float32)
        out_ref[0, :, lanes] = out.astype(out_ref.dtype)


class _Sums(NamedTuple):
    """Normalised keys and values of a group of heads, and the sums of their gradients."""

    k: jax.Array
    v: jax.Array
    dk: jax.Array
    dv: jax.Array


def _attend_gradient(
    config: _Config, q: jax.Array, do: jax.Array, logits: jax.Array, lanes: slice, sums: _Sums
) -> tuple[jax.Array, jax.Array]:
    """The gradients of normalised queries through q k^T, and of the logits; adds to the sums."""
    k, v = sums.k[:, lanes], sums.v[:, lanes]
    weights = _softmax(config, logits)
    d_weights = contract(do, v, 1, 1)
    d_logits = (weights * (d_weights - jnp.sum(weights * d_weights, axis=1, keepdims=True))).astype(q.dtype)
    sums.dk[:, lanes] += contract(d_logits, q, 0, 0) * config.scale
    sums.dv[:, lanes] += contract(weights.astype(do.dtype), do, 0, 0)
    return contract(d_logits, k, 1, 0) * config.scale, d_logits


def _backward_kernel(
    config: _Config, q_ref, t_ref, k_ref, v_ref, norms_ref, embeddings_ref, fold_ref, one_hot_ref, places_ref, *refs
) -> None:
    do_ref, d_t_out_ref, dq_ref, dt_ref, dk_ref, dv_ref, d_norms_ref, d_embeddings_ref, *scratch = refs
    sums = _Sums(*scratch)
    step = pl.program_id(2)

    @pl.when((pl.program_id(0) == 0) & (pl.program_id(1) == 0) & (step == 0))
    def _start_kernel() -> None:
        d_norms_ref[...] = jnp.zeros_like(d_norms_ref)
        d_embeddings_ref[...] = jnp.zeros_like(d_embeddings_ref)

    @pl.when(step == 0)
    def _start() -> None:
        sums.dk[...] = jnp.zeros_like(sums.dk)
        sums.dv[...] = jnp.zeros_like(sums.dv)
        _normalise_keys(config, k_ref, v_ref, norms_ref, sums.k, sums.v)
        for head in range(config.heads):
            lanes = config.lanes(head)
            q = _norm(config, t_ref[0, :, lanes], norms_ref, "q")
            logits = contract(q.value, sums.k[:, lanes], 1, 1) * config.scale
            dq, _ = _attend_gradient(config, q.value, d_t_out_ref[0, :, lanes], logits, lanes, sums)
            dt_ref[0, :, lanes] = _norm_gradient(dq, q, norms_ref, d_norms_ref, "q").astype(dt_ref.dtype)

    rows, d_rows, own = _rows(config, q_ref), _rows(config, do_ref), _own_pairs(config, places_ref)
    for head in range(config.heads):
        lanes = config.lanes(head)
        q, do = _norm(config, rows[:, lanes], norms_ref, "q"), d_rows[:, lanes]
        logits = contract(q.value, sums.k[:, lanes], 1, 1) * config.scale
        logits += _bias(q.value, own, embeddings_ref, fold_ref, one_hot_ref)
        dq, d_logits = _attend_gradient(config, q.value, do, logits, lanes, sums)
        d_terms = contract(d_logits, one_hot_ref[...], 1, 0).astype(do.dtype)
        d_products = jnp.where(own, contract(d_terms, fold_ref[...], 1, 1), 0.0).astype(do.dtype)
        d_embeddings_ref[...] += contract(d_products, q.value, 0, 0)
        dq += contract(d_products, embeddings_ref[...], 1, 0) + do.astype(jnp.float32)
        dq_ref[0, :, lanes] = _norm_gradient(dq, q, norms_ref, d_norms_ref, "q").astype(dq_ref.dtype)

    @pl.when(step == pl.num_programs(2) - 1)
    def _end() -> None:
        for head in range(config.heads):
            lanes = config.lanes(head)
            for name, ref, sum_ref, d_ref in (("k", k_ref, sums.dk, dk_ref), ("v", v_ref, sums.dv, dv_ref)):
                normed = _norm(config, ref[0, :, lanes], norms_ref, name)
                gradient = _norm_gradient(sum_ref[:, lanes], normed, norms_ref, d_norms_ref, name)
                d_ref[0, :, lanes] = gradient.astype(d_ref.dtype)


def _call(config: _Config, kernel, operands: Sequence[jax.Array], outputs: Sequence, kinds: str, products: int):
    """Runs a kernel over clips, groups of heads and blocks of queries.

    Args:
      config: The settings.
      kernel: Takes refs to the operands, the outputs and the scratch.
      operands: Those of `_attention`, then gradients of its results.
      outputs: Shapes and dtypes.
      kinds: Those of the outputs, as in `_OPERANDS`.
      products: The number of matrix products of queries by keys, each of all heads, for the compiler's cost estimate.
    """
    queries, tokens, keys, _, _, _, fold = operands[:7]
    width, head_dim = config.heads * config.head_dim, config.head_dim

    def spec(kind: str, array) -> pl.BlockSpec:
        if kind == "q":
            return pl.BlockSpec((1, config.block, width), lambda b, g, i: (b, i, g))
        if kind == "-":
            return pl.BlockSpec(array.shape, lambda b, g, i: (0, 0))
        return pl.BlockSpec((1, array.shape[1], width), lambda b, g, i: (b, 0, g))

    grid = (queries.shape[0], queries.shape[2] // width, -(-config.num_queries // config.block))
    in_specs = list(map(spec, _OPERANDS + "qt", operands))
    out_specs = list(map(spec, kinds, outputs))
    rows = queries.shape[0] * (config.num_queries + tokens.shape[1]) * queries.shape[2] // head_dim
    pairs, coordinates = fold.shape
    positions = pairs * (head_dim + coordinates) + coordinates * config.num_keys
    cost = pl.CostEstimate(
        flops=2 * rows * (products * head_dim * config.num_keys + (products + 1) // 2 * positions),
        transcendentals=rows * config.num_keys,
        bytes_accessed=moved_bytes(grid, [*in_specs, *out_specs], [*operands, *outputs]),
    )
    normed, summed = (pltpu.VMEM((keys.shape[1], width), dtype) for dtype in (keys.dtype, jnp.float32))
    return pl.pallas_call(
        functools.partial(kernel, config),
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=outputs,
        scratch_shapes=[normed, normed, summed, summed] if len(outputs) > 2 else [normed, normed],
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (config.vmem_bytes or 0))),
        interpret=config.vmem_bytes is None,
    )(*operands)


def _like(array: jax.Array, dtype=None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, dtype or array.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(config, *operands):
    return tuple(_call(config, _forward_kernel, operands, [*map(_like, operands[:2])], "qt", products=2))


def _attention_backward(config, operands, d_outputs):
    queries, tokens, keys, values, norms, embeddings, *constants = operands
    outputs = [*map(_like, (queries, tokens, keys, values)), _like(norms), _like(embeddings, jnp.float32)]
    *gradients, d_embeddings = _call(config, _backward_kernel, [*operands, *d_outputs], outputs, "qtkk--", products=5)
    zeros = (jnp.zeros_like(constant) for constant in constants)
    return *gradients, d_embeddings.astype(embeddings.dtype), *zeros


_attention.defvjp(lambda config, *operands: (_attention(config, *operands), operands), _attention_backward)
