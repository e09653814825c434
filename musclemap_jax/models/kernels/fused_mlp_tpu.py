"""The MLP of a transformer block for TPU, with its norm and its residual, in one pass over memory.

    y = x + factor (gelu(norm(x) W1 + b1) W2 + b2)

A step moves far more bytes than its arithmetic needs, and many of them are the MLP's hidden array, four times as wide
as the block. Here it stays in fast memory (VMEM): the kernels read x and write y, and backwards read x and dy and write
dx. The backward pass computes the hidden array again, which costs a sixth of the MLP's arithmetic, and keeps nothing
but x. The weights stay in VMEM for the whole kernel, and so do the sums of their gradients.

Letters of shapes: B clips, N tokens, D width, F hidden width.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.block_traffic import moved_bytes
from musclemap_jax.models.kernels.tpu_matmul import contract, standardise, standardise_gradient
from musclemap_jax.models.kernels.tpu_tiles import NUM_LANES, NUM_ROWS, VMEM_FRACTION, block_of_rows

MAX_ROWS = 256
"""Most tokens of a step."""

MAX_CHUNK = 512
"""Most hidden channels that are computed at once: a kernel's arrays are unrolled into instructions."""


class _Config(NamedTuple):
    """Static settings: the norm's epsilon, tokens of a clip and of a step, hidden channels at once, bytes of VMEM."""

    epsilon: float
    num_rows: int
    block: int
    chunk: int
    vmem_bytes: int | None


def fused_mlp(
    x: Float[Array, "B N D"],
    factor: Float[Array, " B"],
    norm_scale: Float[Array, " D"],
    norm_bias: Float[Array, " D"],
    fc1_kernel: Float[Array, "D F"],
    fc1_bias: Float[Array, " F"],
    fc2_kernel: Float[Array, "F D"],
    fc2_bias: Float[Array, " D"],
    *,
    epsilon: float,
    vmem_bytes: int | None,
) -> Float[Array, "B N D"]:
    """x plus each clip's factor times the MLP of the norm of x, in the dtype of x; the factor gets no gradient.

    Products take x's dtype and sum in float32; everything else is float32. `vmem_bytes` are the chip's; None runs the
    kernels in interpret mode, on any platform (for tests).
    """
    num_rows, hidden = x.shape[1], fc1_kernel.shape[1]
    config = _Config(epsilon, num_rows, block_of_rows(num_rows, MAX_ROWS), _chunk(hidden), vmem_bytes)
    factors = jnp.broadcast_to(factor.astype(jnp.float32)[:, None, None], (x.shape[0], 1, x.shape[2]))
    vectors = (norm_scale, norm_bias, fc1_bias, fc2_bias)
    scale, bias, bias1, bias2 = (vector.astype(jnp.float32)[None] for vector in vectors)
    kernels = fc1_kernel.astype(x.dtype), fc2_kernel.astype(x.dtype)
    return _mlp(config, x, factors, scale, bias, kernels[0], bias1, kernels[1], bias2)


def fused_mlp_fits(width: int, hidden: int, vmem_bytes: int) -> bool:
    """Whether the weights, their gradients and a step's arrays fit into VMEM."""
    if hidden % NUM_LANES or width % NUM_ROWS:
        return False
    # In bfloat16, double-buffered, both weights and both gradients; float32 sums of the gradients.
    weights = 2 * hidden * width * (2 * 2 + 2 * 2 + 4)
    step = MAX_ROWS * (8 * MAX_CHUNK + 12 * max(width, NUM_LANES)) * 4
    return weights + step <= VMEM_FRACTION * vmem_bytes


def _chunk(hidden: int) -> int:
    """The largest divisor of the hidden width that is a multiple of the lanes and at most MAX_CHUNK."""
    sizes = [size for size in range(NUM_LANES, MAX_CHUNK + 1, NUM_LANES) if hidden % size == 0]
    return max(sizes, default=hidden)


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + lax.erf(x * math.sqrt(0.5)))


def _for_chunks(config: _Config, hidden: int, body) -> None:
    """Calls a function with the slice of each chunk of hidden channels."""

    def step(index: jax.Array, _: None) -> None:
        body(pl.ds(pl.multiple_of(index * config.chunk, config.chunk), config.chunk))

    lax.fori_loop(0, hidden // config.chunk, step, None)


def _forward_kernel(config: _Config, x_ref, factor_ref, scale_ref, bias_ref, w1_ref, b1_ref, w2_ref, b2_ref, *refs):
    out_ref, total = refs
    x = x_ref[0].astype(jnp.float32)
    standard, _ = standardise(x, config.epsilon)
    normed = (standard * scale_ref[...] + bias_ref[...]).astype(x_ref.dtype)
    total[...] = jnp.zeros_like(total)

    def chunk(channels) -> None:
        hidden = contract(normed, w1_ref[:, channels], 1, 0) + b1_ref[:, channels]
        activated = (hidden * _normal_cdf(hidden)).astype(normed.dtype)
        total[...] += contract(activated, w2_ref[channels, :], 1, 0)

    _for_chunks(config, w1_ref.shape[1], chunk)
    out_ref[0] = (x + factor_ref[0] * (total[...] + b2_ref[...])).astype(out_ref.dtype)


def _backward_kernel(config: _Config, x_ref, factor_ref, scale_ref, bias_ref, w1_ref, b1_ref, w2_ref, dy_ref, *refs):
    dx_ref, d_scale, d_bias, dw1_ref, d_b1, dw2_ref, d_b2, dw1, dw2, d_normed = refs
    clip, step = pl.program_id(0), pl.program_id(1)

    @pl.when((clip == 0) & (step == 0))
    def _start() -> None:
        for total in (d_scale, d_bias, d_b1, d_b2, dw1, dw2):
            total[...] = jnp.zeros_like(total)

    # The last block of a clip may reach beyond its tokens, where memory is undefined.
    row = step * config.block + lax.broadcasted_iota(jnp.int32, x_ref.shape[1:], 0)
    x = jnp.where(row < config.num_rows, x_ref[0].astype(jnp.float32), 0.0)
    dy = jnp.where(row < config.num_rows, dy_ref[0].astype(jnp.float32), 0.0)
    standard, inverse = standardise(x, config.epsilon)
    normed = (standard * scale_ref[...] + bias_ref[...]).astype(x_ref.dtype)
    d_out = dy * factor_ref[0]
    d_b2[...] += jnp.sum(d_out, axis=0, keepdims=True)
    d_out = d_out.astype(x_ref.dtype)
    d_normed[...] = jnp.zeros_like(d_normed)

    def chunk(channels) -> None:
        hidden = contract(normed, w1_ref[:, channels], 1, 0) + b1_ref[:, channels]
        cdf = _normal_cdf(hidden)
        density = jnp.exp(-0.5 * hidden * hidden) * (1.0 / math.sqrt(2.0 * math.pi))
        d_hidden = contract(d_out, w2_ref[channels, :], 1, 1) * (cdf + hidden * density)
        d_b1[:, channels] += jnp.sum(d_hidden, axis=0, keepdims=True)
        d_hidden = d_hidden.astype(normed.dtype)
        dw2[channels, :] += contract((hidden * cdf).astype(normed.dtype), d_out, 0, 0)
        dw1[:, channels] += contract(normed, d_hidden, 0, 0)
        d_normed[...] += contract(d_hidden, w1_ref[:, channels], 1, 1)

    _for_chunks(config, w1_ref.shape[1], chunk)
    d_scale[...] += jnp.sum(d_normed[...] * standard, axis=0, keepdims=True)
    d_bias[...] += jnp.sum(d_normed[...], axis=0, keepdims=True)
    dx = dy + standardise_gradient(d_normed[...] * scale_ref[...], standard, inverse)
    dx_ref[0] = dx.astype(dx_ref.dtype)

    @pl.when((clip == pl.num_programs(0) - 1) & (step == pl.num_programs(1) - 1))
    def _end() -> None:
        dw1_ref[...] = dw1[...].astype(dw1_ref.dtype)
        dw2_ref[...] = dw2[...].astype(dw2_ref.dtype)


def _call(config: _Config, kernel, operands: Sequence[jax.Array], outputs, scratch, products: int):
    """Runs a kernel over clips and blocks of tokens.

    Args:
      config: The settings.
      kernel: Takes refs to the operands, the outputs and the scratch.
      operands: The tokens (B, N, D), the factors (B, 1, D), and arrays that stay in VMEM or are shaped like the tokens.
      outputs: Shapes and dtypes of the outputs, likewise.
      scratch: Shapes of float32 arrays in VMEM.
      products: Number of matrix products of tokens by weights, for the compiler's cost estimate.
    """
    x, hidden = operands[0], operands[4].shape[1]
    token_spec = pl.BlockSpec((1, config.block, x.shape[2]), lambda b, i: (b, i, 0))
    factor_spec = pl.BlockSpec((1, 1, x.shape[2]), lambda b, i: (b, 0, 0))

    def spec(array) -> pl.BlockSpec:
        if array is operands[1]:
            return factor_spec
        return token_spec if len(array.shape) == 3 else pl.BlockSpec(array.shape, lambda b, i: (0, 0))

    grid = (x.shape[0], -(-config.num_rows // config.block))
    in_specs, out_specs = [spec(array) for array in operands], [spec(array) for array in outputs]
    tokens = x.shape[0] * config.num_rows
    cost = pl.CostEstimate(
        flops=2 * products * tokens * x.shape[2] * hidden,
        transcendentals=tokens * hidden * (2 if products > 2 else 1),
        bytes_accessed=moved_bytes(grid, [*in_specs, *out_specs], [*operands, *outputs]),
    )
    return pl.pallas_call(
        functools.partial(kernel, config),
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=outputs,
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (config.vmem_bytes or 0))),
        interpret=config.vmem_bytes is None,
    )(*operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mlp(config, x, *params):
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    scratch = [(config.block, x.shape[2])]
    return _call(config, _forward_kernel, [x, *params], [out], scratch, products=2)[0]


def _mlp_backward(config, operands, dy):
    x, factors, scale, bias, w1, b1, w2, b2 = operands
    outputs = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (x, scale, bias, w1, b1, w2, b2)]
    scratch = [w1.shape, w2.shape, (config.block, x.shape[2])]
    gradients = _call(config, _backward_kernel, [x, factors, scale, bias, w1, b1, w2, dy], outputs, scratch, products=5)
    return gradients[0], jnp.zeros_like(factors), *gradients[1:]


_mlp.defvjp(lambda config, *operands: (_mlp(config, *operands), operands), _mlp_backward)
