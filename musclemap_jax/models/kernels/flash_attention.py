"""Fused attention of patch queries for TPU: logits and weights stay in the chip's fast memory.

MViTv2 pools its keys (arXiv:2112.01526), so all keys of a head fit there: a block of queries sees every key at once and
no running maximum is kept (unlike FlashAttention, arXiv:2205.14135, whose idea this is). The backward pass computes the
logits anew from queries and keys, so the operands are all that is kept between the two passes.

    out = softmax(scale q k^T + terms places^T) v + q       (the last: MViTv2's residual pooling)

`terms` and `places` are the decomposed relative positions of relative_position.py.

Letters of shapes: B clips, N queries, K keys, G groups of heads, c width of a head, D = heads * c, e terms of a head
(T' + H' + W' of the keys' grid).
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

LANES, ROWS = 128, 16
"""Size of the chip's tile of bfloat16."""

QUERY_BLOCK = 256
"""Queries that a step takes at most."""

VMEM_FRACTION = 0.875
"""Share of a chip's fast memory that a kernel may use."""

BLOCK_LOGITS = 1 << 18
"""Logits of a step at most: several arrays of their size lie in fast memory at once."""

GROUP_KEYS = 1664 * 512
"""Elements of the keys of one group of heads at most; keys, values and the gradients of both lie in fast memory."""

HIDDEN_LOGIT = -1e30
"""Logit of a key that only fills a tile."""


class _Form(NamedTuple):
    """Static settings of a call.

    Attributes:
      heads: in a group.
      head_dim: c.
      num_keys: keys that are not filling.
      block: queries of a step.
      vmem_bytes: bytes that the chip has; None to run as JAX operations.
    """

    heads: int
    head_dim: int
    num_keys: int
    block: int
    vmem_bytes: int | None

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5

    def lanes(self, head: int) -> slice:
        """Where a head's channels lie."""
        return slice(head * self.head_dim, (head + 1) * self.head_dim)


def flash_attention(
    queries: jax.Array,
    terms: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    places: jax.Array,
    vmem_bytes: int | None,
) -> jax.Array:
    """Softmax attention with relative positions, plus the queries.

    Args:
      queries: (B, N, heads, c), not scaled.
      terms: (B, N, heads, e) of `position_terms`.
      keys: (B, K, heads, c).
      values: (B, K, heads, c).
      places: (K, e) of `key_coordinates`, in the queries' dtype; rows of zeros for class tokens.
      vmem_bytes: bytes that the chip has; None runs the kernels as JAX operations, on any platform (for tests).

    Returns:
      (B, N, heads, c) in the dtype of the queries; the softmax is float32.
    """
    num_clips, num_queries, num_heads, head_dim = queries.shape
    num_keys = keys.shape[1]
    group = _heads_of_a_group(num_heads, head_dim, _up(num_keys, LANES))
    block = _query_block(num_queries, _up(num_keys, LANES))
    form = _Form(group, head_dim, num_keys, block, vmem_bytes)
    # A group's terms lie apart: their width is no whole number of lanes.
    terms = terms.reshape(num_clips, num_queries, num_heads // group, -1).swapaxes(1, 2)
    padded = (
        *(
            _fill(x.reshape(*x.shape[:2], -1), 1, unit)
            for x, unit in ((queries, block), (keys, LANES), (values, LANES))
        ),
        _fill(terms, 2, block),
        _fill(places, 0, LANES),
    )
    return _attention(form, *padded)[:, :num_queries].reshape(queries.shape)


def fits(num_keys: int, num_heads: int, head_dim: int, vmem_bytes: int) -> bool:
    """Whether the keys and values of a group of heads, with all that the backward pass makes of them, fit."""
    rows = _up(num_keys, LANES)
    width = _up(_heads_of_a_group(num_heads, head_dim, rows) * head_dim, LANES)
    # Keys, values and both gradients, in two copies so that memory works while the chip computes; float32 sums; logits.
    return (8 * 2 + 2 * 4) * rows * width + 5 * 4 * BLOCK_LOGITS <= VMEM_FRACTION * vmem_bytes


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _fill(x: jax.Array, axis: int, unit: int) -> jax.Array:
    missing = _up(x.shape[axis], unit) - x.shape[axis]
    edges = [(0, missing if place == axis else 0) for place in range(x.ndim)]
    return jnp.pad(x, edges) if missing else x


def _query_block(num_queries: int, num_keys: int) -> int:
    """Queries of a step: whole tiles, as many as there is room for, of sizes alike that which needs least filling."""
    most = min(QUERY_BLOCK, BLOCK_LOGITS // num_keys // ROWS * ROWS, _up(num_queries, ROWS))
    most = max(most, ROWS)
    return min(range(most, most // 2, -ROWS), key=lambda size: _up(num_queries, size))


def _heads_of_a_group(num_heads: int, head_dim: int, num_keys: int) -> int:
    """As many heads as fast memory has room for; their channels are whole tiles, unless the group is all heads."""
    sizes = [size for size in range(1, num_heads) if num_heads % size == 0 and size * head_dim % LANES == 0]
    fitting = [size for size in (*sizes, num_heads) if size * head_dim * num_keys <= GROUP_KEYS]
    return max(fitting, default=min(sizes, default=num_heads))


def _dot(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """Sum over one axis of each matrix, in float32."""
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return lax.dot_general(
        a, b, (((axis_a,), (axis_b,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )


def _weights(form: _Form, q: jax.Array, terms: jax.Array, k: jax.Array, places: jax.Array) -> jax.Array:
    """Softmax over the keys of one head: (block, K) float32."""
    logits = _dot(q, k, 1, 1) * form.scale + _dot(terms, places, 1, 1)
    key = lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    logits = jnp.where(key < form.num_keys, logits, HIDDEN_LOGIT)
    powers = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    return powers / jnp.sum(powers, axis=1, keepdims=True)


def _forward_kernel(form: _Form, q_ref, k_ref, v_ref, terms_ref, places_ref, out_ref) -> None:
    e = places_ref.shape[1]
    for head in range(form.heads):
        lanes = form.lanes(head)
        q, v = q_ref[0, :, lanes], v_ref[0, :, lanes]
        weights = _weights(form, q, terms_ref[0, 0, :, head * e : (head + 1) * e], k_ref[0, :, lanes], places_ref[...])
        out = _dot(weights.astype(v.dtype), v, 1, 0) + q.astype(jnp.float32)
        out_ref[0, :, lanes] = out.astype(out_ref.dtype)


def _backward_kernel(
    form: _Form, q_ref, k_ref, v_ref, terms_ref, places_ref, do_ref, dq_ref, dk_ref, dv_ref, dterms_ref, dk_sum, dv_sum
) -> None:
    e, places = places_ref.shape[1], places_ref[...]

    @pl.when(pl.program_id(2) == 0)
    def _start() -> None:
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    for head in range(form.heads):
        lanes, term_lanes = form.lanes(head), slice(head * e, (head + 1) * e)
        q, k, v, do = q_ref[0, :, lanes], k_ref[0, :, lanes], v_ref[0, :, lanes], do_ref[0, :, lanes]
        weights = _weights(form, q, terms_ref[0, 0, :, term_lanes], k, places)
        d_weights = _dot(do, v, 1, 1)
        d_logits = weights * (d_weights - jnp.sum(weights * d_weights, axis=1, keepdims=True))
        d_logits = d_logits.astype(q.dtype)
        dq = _dot(d_logits, k, 1, 0) * form.scale + do.astype(jnp.float32)
        dq_ref[0, :, lanes] = dq.astype(dq_ref.dtype)
        dterms_ref[0, 0, :, term_lanes] = _dot(d_logits, places, 1, 0).astype(dterms_ref.dtype)
        dk_sum[:, lanes] += _dot(d_logits, q, 0, 0) * form.scale
        dv_sum[:, lanes] += _dot(weights.astype(do.dtype), do, 0, 0)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _end() -> None:
        dk_ref[0] = dk_sum[...].astype(dk_ref.dtype)
        dv_ref[0] = dv_sum[...].astype(dv_ref.dtype)


def _call(form: _Form, kernel, operands: list[jax.Array], outputs: list[int], products: int, scratch=()):
    """Runs a kernel over clips, groups of heads and blocks of queries.

    Args:
      form: the settings.
      kernel: of refs to queries, keys, values, terms, places and further arrays like the queries.
      operands: those arrays.
      outputs: which operands the outputs are like.
      products: matrix products of queries by keys that it has, each of all heads, for the compiler's estimates.
      scratch: arrays in fast memory that the kernel takes last.
    """
    queries, keys, _, terms, places = operands[:5]
    width = form.heads * form.head_dim
    by_query = pl.BlockSpec((1, form.block, width), lambda b, g, i: (b, i, g))
    by_group = pl.BlockSpec((1, keys.shape[1], width), lambda b, g, i: (b, 0, g))
    by_term = pl.BlockSpec((1, 1, form.block, terms.shape[3]), lambda b, g, i: (b, g, i, 0))
    whole = pl.BlockSpec(places.shape, lambda b, g, i: (0, 0))
    specs = [by_query, by_group, by_group, by_term, whole, *[by_query] * (len(operands) - 5)]
    shapes = [jax.ShapeDtypeStruct(operands[index].shape, operands[index].dtype) for index in outputs]
    pairs = queries.shape[0] * queries.shape[1] * form.num_keys
    cost = pl.CostEstimate(
        flops=2 * products * pairs * queries.shape[2],
        transcendentals=pairs * queries.shape[2] // form.head_dim,
        bytes_accessed=sum(math.prod(x.shape) * x.dtype.itemsize for x in (*operands, *shapes)),
    )
    return pl.pallas_call(
        functools.partial(kernel, form),
        grid=(queries.shape[0], terms.shape[1], queries.shape[1] // form.block),
        in_specs=specs,
        out_specs=[specs[index] for index in outputs],
        out_shape=shapes,
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (form.vmem_bytes or 0))),
        interpret=form.vmem_bytes is None,
    )(*operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(form, queries, keys, values, terms, places):
    return _call(form, _forward_kernel, [queries, keys, values, terms, places], [0], products=2)[0]


def _attention_forward(form, *operands):
    return _attention(form, *operands), operands


def _attention_backward(form, operands, d_out):
    keys = operands[1]
    scratch = [(keys.shape[1], form.heads * form.head_dim)] * 2
    gradients = _call(form, _backward_kernel, [*operands, d_out], [0, 1, 2, 3], products=5, scratch=scratch)
    return (*gradients, jnp.zeros_like(operands[4]))


_attention.defvjp(_attention_forward, _attention_backward)
