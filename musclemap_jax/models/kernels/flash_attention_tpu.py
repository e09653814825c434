"""Fused attention of patch queries for TPU: logits and weights stay in fast memory (VMEM).

MViTv2 pools its keys (arXiv:2112.01526), so all keys of a head fit into VMEM: a block of queries sees every key at once
and no running maximum is kept (unlike in FlashAttention, arXiv:2205.14135, whose idea this is). The backward pass
recomputes the logits from queries and keys, so only the operands are kept between the two passes.

    out = softmax(scale q k^T + terms key_one_hot^T) v + q       (the last term: MViTv2's residual pooling)

`terms` and `key_one_hot` are the decomposed relative positions of relative_position.py.

Names of axes: B clips, heads, queries, keys, groups of heads, c width of a head, e terms of a head (T + H + W of the
keys' grid).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.tpu_tiles import NUM_LANES, VMEM_FRACTION, round_up

NUM_SUBLANES = 16
"""Rows of a tile of bfloat16."""

MAX_QUERY_BLOCK = 256
"""Most queries of a step."""

MAX_BLOCK_LOGITS = 1 << 18
"""Most logits of a step: several arrays of their size are in VMEM at once."""

MAX_GROUP_ELEMENTS = 1664 * 512
"""Most elements of the keys of a group of heads; keys, values and the gradients of both are in VMEM."""

MASKED_LOGIT = -1e30
"""Logit of a key that pads a tile."""


class _Config(NamedTuple):
    """Static settings: heads in a group, width c of a head, keys without padding, queries in a step, bytes of VMEM."""

    heads: int
    head_dim: int
    num_keys: int
    block: int
    vmem_bytes: int | None

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5

    def lanes(self, head: int) -> slice:
        """The channels of a head in its group."""
        return slice(head * self.head_dim, (head + 1) * self.head_dim)


def flash_attention(
    queries: Float[Array, "B queries heads c"],
    terms: Float[Array, "B queries heads e"],
    keys: Float[Array, "B keys heads c"],
    values: Float[Array, "B keys heads c"],
    key_one_hot: Float[Array, "keys e"],
    vmem_bytes: int | None,
) -> Float[Array, "B queries heads c"]:
    """Softmax attention with relative positions, plus the queries, in their dtype; the softmax is float32.

    The queries are not scaled. `terms` are from `position_terms`; `key_one_hot` is from `key_coordinates`, in the
    queries' dtype, with rows of zeros for class tokens. `vmem_bytes` are the chip's; None runs the kernels in interpret
    mode, on any platform (for tests).
    """
    num_clips, num_queries, num_heads, head_dim = queries.shape
    num_keys = keys.shape[1]
    group = _heads_per_group(num_heads, head_dim, round_up(num_keys, NUM_LANES))
    block = _query_block_size(num_queries, round_up(num_keys, NUM_LANES))
    config = _Config(group, head_dim, num_keys, block, vmem_bytes)
    # Terms get an axis for the groups: the width of a group's terms is no multiple of NUM_LANES.
    terms = terms.reshape(num_clips, num_queries, num_heads // group, -1).swapaxes(1, 2)
    flat_queries, keys, values = (x.reshape(*x.shape[:2], -1) for x in (queries, keys, values))
    output = _attention(
        config,
        _pad_to_multiple(flat_queries, 1, block),
        _pad_to_multiple(keys, 1, NUM_LANES),
        _pad_to_multiple(values, 1, NUM_LANES),
        _pad_to_multiple(terms, 2, block),
        _pad_to_multiple(key_one_hot, 0, NUM_LANES),
    )
    return output[:, :num_queries].reshape(queries.shape)


def flash_attention_fits(num_keys: int, num_heads: int, head_dim: int, vmem_bytes: int) -> bool:
    """Whether the keys and values of a group of heads, with what the backward pass makes of them, fit into VMEM."""
    rows = round_up(num_keys, NUM_LANES)
    width = round_up(_heads_per_group(num_heads, head_dim, rows) * head_dim, NUM_LANES)
    # Keys, values and both gradients, double-buffered; float32 sums; logits.
    return (8 * 2 + 2 * 4) * rows * width + 5 * 4 * MAX_BLOCK_LOGITS <= VMEM_FRACTION * vmem_bytes


def _pad_to_multiple(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, round_up(x.shape[axis], multiple) - x.shape[axis])
    return jnp.pad(x, widths) if widths[axis][1] else x


def _query_block_size(num_queries: int, num_keys: int) -> int:
    """Queries of a step: whole tiles; between half and all of what fits, the size that needs the least padding."""
    most = min(MAX_QUERY_BLOCK, MAX_BLOCK_LOGITS // num_keys, round_up(num_queries, NUM_SUBLANES))
    most = max(most // NUM_SUBLANES, 1) * NUM_SUBLANES
    return min(range(most, most // 2, -NUM_SUBLANES), key=lambda size: round_up(num_queries, size))


def _heads_per_group(num_heads: int, head_dim: int, num_keys: int) -> int:
    """As many heads as fit into VMEM; their channels are whole tiles, unless the group contains all heads."""
    sizes = [size for size in range(1, num_heads) if num_heads % size == 0 and size * head_dim % NUM_LANES == 0]
    fitting = [size for size in (*sizes, num_heads) if size * head_dim * num_keys <= MAX_GROUP_ELEMENTS]
    return max(fitting, default=min(sizes, default=num_heads))


def _dot(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """Contracts one axis of each matrix, in float32."""
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return lax.dot_general(
        a, b, (((axis_a,), (axis_b,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )


def _weights(config: _Config, q: jax.Array, terms: jax.Array, k: jax.Array, key_one_hot: jax.Array) -> jax.Array:
    """Softmax over the keys of one head: (block, K) float32."""
    logits = _dot(q, k, 1, 1) * config.scale + _dot(terms, key_one_hot, 1, 1)
    key = lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    logits = jnp.where(key < config.num_keys, logits, MASKED_LOGIT)
    powers = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    return powers / jnp.sum(powers, axis=1, keepdims=True)


def _forward_kernel(config: _Config, q_ref, k_ref, v_ref, terms_ref, one_hot_ref, out_ref) -> None:
    e, key_one_hot = one_hot_ref.shape[1], one_hot_ref[...]
    for head in range(config.heads):
        lanes, term_lanes = config.lanes(head), slice(head * e, (head + 1) * e)
        q, k, v = q_ref[0, :, lanes], k_ref[0, :, lanes], v_ref[0, :, lanes]
        weights = _weights(config, q, terms_ref[0, 0, :, term_lanes], k, key_one_hot)
        out = _dot(weights.astype(v.dtype), v, 1, 0) + q.astype(jnp.float32)
        out_ref[0, :, lanes] = out.astype(out_ref.dtype)


def _backward_kernel(config: _Config, q_ref, k_ref, v_ref, terms_ref, one_hot_ref, do_ref, *refs) -> None:
    dq_ref, dk_ref, dv_ref, dterms_ref, dk_sum, dv_sum = refs
    e, key_one_hot = one_hot_ref.shape[1], one_hot_ref[...]

    @pl.when(pl.program_id(2) == 0)
    def _start() -> None:
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    for head in range(config.heads):
        lanes, term_lanes = config.lanes(head), slice(head * e, (head + 1) * e)
        q, k, v, do = q_ref[0, :, lanes], k_ref[0, :, lanes], v_ref[0, :, lanes], do_ref[0, :, lanes]
        weights = _weights(config, q, terms_ref[0, 0, :, term_lanes], k, key_one_hot)
        d_weights = _dot(do, v, 1, 1)
        d_logits = weights * (d_weights - jnp.sum(weights * d_weights, axis=1, keepdims=True))
        d_logits = d_logits.astype(q.dtype)
        dq = _dot(d_logits, k, 1, 0) * config.scale + do.astype(jnp.float32)
        dq_ref[0, :, lanes] = dq.astype(dq_ref.dtype)
        dterms_ref[0, 0, :, term_lanes] = _dot(d_logits, key_one_hot, 1, 0).astype(dterms_ref.dtype)
        dk_sum[:, lanes] += _dot(d_logits, q, 0, 0) * config.scale
        dv_sum[:, lanes] += _dot(weights.astype(do.dtype), do, 0, 0)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _end() -> None:
        dk_ref[0] = dk_sum[...].astype(dk_ref.dtype)
        dv_ref[0] = dv_sum[...].astype(dv_ref.dtype)


def _call(config: _Config, kernel, operands: list[jax.Array], outputs: list[int], products: int, scratch=()):
    """Runs a kernel over clips, groups of heads and blocks of queries.

    Args:
      config: The settings.
      kernel: Takes refs to the operands, the outputs and the scratch.
      operands: Queries, keys, values, terms, key_one_hot and further arrays shaped like the queries.
      outputs: For each output, the index of the operand whose shape and dtype it has.
      products: The number of matrix products of queries by keys, each of all heads, for the compiler's cost estimate.
      scratch: Shapes of VMEM arrays.
    """
    queries, keys, _, terms, key_one_hot = operands[:5]
    width = config.heads * config.head_dim
    query_spec = pl.BlockSpec((1, config.block, width), lambda b, g, i: (b, i, g))
    key_spec = pl.BlockSpec((1, keys.shape[1], width), lambda b, g, i: (b, 0, g))
    term_spec = pl.BlockSpec((1, 1, config.block, terms.shape[3]), lambda b, g, i: (b, g, i, 0))
    one_hot_spec = pl.BlockSpec(key_one_hot.shape, lambda b, g, i: (0, 0))
    specs = [query_spec, key_spec, key_spec, term_spec, one_hot_spec, *[query_spec] * (len(operands) - 5)]
    shapes = [jax.ShapeDtypeStruct(operands[index].shape, operands[index].dtype) for index in outputs]
    pairs = queries.shape[0] * queries.shape[1] * config.num_keys
    cost = pl.CostEstimate(
        flops=2 * products * pairs * queries.shape[2],
        transcendentals=pairs * queries.shape[2] // config.head_dim,
        bytes_accessed=sum(math.prod(x.shape) * x.dtype.itemsize for x in (*operands, *shapes)),
    )
    return pl.pallas_call(
        functools.partial(kernel, config),
        grid=(queries.shape[0], terms.shape[1], queries.shape[1] // config.block),
        in_specs=specs,
        out_specs=[specs[index] for index in outputs],
        out_shape=shapes,
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (config.vmem_bytes or 0))),
        interpret=config.vmem_bytes is None,
    )(*operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(config, queries, keys, values, terms, key_one_hot):
    return _call(config, _forward_kernel, [queries, keys, values, terms, key_one_hot], [0], products=2)[0]


def _attention_backward(config, operands, d_out):
    keys = operands[1]
    scratch = [(keys.shape[1], config.heads * config.head_dim)] * 2
    gradients = _call(config, _backward_kernel, [*operands, d_out], [0, 1, 2, 3], products=5, scratch=scratch)
    return (*gradients, jnp.zeros_like(operands[4]))


_attention.defvjp(lambda config, *operands: (_attention(config, *operands), operands), _attention_backward)
