"""Bytes that kernels move, counted block by block by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from musclemap_jax.models.kernels.block_traffic import moved_bytes
from musclemap_jax.models.kernels.depthwise_conv_tpu import ChannelGroup, grouped_depthwise
from musclemap_jax.models.kernels.flash_attention_tpu import flash_attention

GRID = (2, 3)


@pytest.mark.parametrize(
    ("index_map", "blocks"),
    [
        (lambda b, i: (b, i), 6),  # each block once
        (lambda b, i: (b, 0), 2),  # kept in the inner loop
        (lambda b, i: (0, i), 6),  # fetched again in each run of the inner loop
        (lambda b, i: (0, 0), 1),
        (lambda b, i: (b, jnp.minimum(i, 1)), 4),  # the end is repeated
    ],
)
def test_a_block_is_moved_when_its_index_changes(index_map, blocks):
    array = jax.ShapeDtypeStruct((16, 3 * 128), jnp.bfloat16)
    spec = pl.BlockSpec((8, 128), index_map)
    assert moved_bytes(GRID, [spec], [array]) == blocks * 8 * 128 * 2
    traced = []
    jax.jit(lambda: traced.append(moved_bytes(GRID, [spec], [array]))).trace()
    assert traced == [blocks * 8 * 128 * 2]


def test_the_last_block_is_cut_off_at_a_whole_tile():
    array = jax.ShapeDtypeStruct((4, 25 * 8 + 3, 96), jnp.float32)
    spec = pl.BlockSpec((1, 9 * 8, 96), lambda b, i: (b, i, 0))
    assert moved_bytes(GRID, [spec], [array]) == 2 * 26 * 8 * 128 * 4


def kernels_of(jaxpr):
    """The kernels of a program, in order."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            yield equation
        else:
            for inner in equation.params.values():
                yield from kernels_of(inner.jaxpr) if hasattr(inner, "jaxpr") else ()


def estimates(function, *shapes):
    """Bytes that the kernels of a function and of its gradient state, in order; a matrix is float32."""

    def both(*arguments):
        out, transpose = jax.vjp(function, *arguments)
        return transpose(out)

    dtypes = [jnp.float32 if len(shape) == 2 else jnp.bfloat16 for shape in shapes]
    jaxpr = jax.make_jaxpr(both)(*map(jax.ShapeDtypeStruct, shapes, dtypes))
    return [kernel.params["cost_estimate"].bytes_accessed for kernel in kernels_of(jaxpr.jaxpr)]


def test_attention_states_what_it_moves():
    # Two clips with 40 queries of one group of two heads of 8; 17 keys are padded to 128 and stay for all blocks.
    grids = {"query_grid": (1, 5, 8), "key_grid": (1, 4, 4)}
    pairs = 1 + 5 * 4 + 8 * 4
    # Rows of tiles; every array has fewer than 128 columns.
    queries, tokens, keys, embeddings, norms = 2 * 40, 2 * 16, 2 * 128, 56, 8
    forward, backward = estimates(
        lambda *a: flash_attention(*a[:5], a[5].astype(jnp.bfloat16), **grids, epsilon=1e-6, vmem_bytes=None),
        (2, 40, 16),
        (2, 1, 16),
        (2, 17, 16),
        (2, 17, 16),
        (6, 8),
        (pairs, 8),
    )
    constants = 128 * (4 * norms + 2 * (embeddings + embeddings + 128) + 4 * 8)
    assert forward == 2 * 128 * (2 * queries + 2 * tokens + 2 * keys) + constants
    assert backward == 2 * 128 * (3 * queries + 3 * tokens + 4 * keys) + constants + 128 * 4 * (norms + embeddings)
    assert pairs == 53


def test_the_depthwise_convolution_reads_every_frame_once():
    groups = (ChannelGroup(0, 2, (1, 1, 1)), ChannelGroup(2, 6, (1, 4, 4)))
    forward, backward = estimates(
        lambda x, kernel: grouped_depthwise(x, kernel, groups, vmem_bytes=None), (2, 3, 8, 8, 6), (3, 3, 3, 6)
    )
    # Two clips with three frames of whole tiles, of eight rows and (strided) two; 27 taps are 32 rows for each group.
    x, outputs, weights = 2 * 3 * 8 * 8 * 128 * 2, 2 * 3 * (8 + 2) * 8 * 128 * 2, 2 * 32 * 128 * 4
    assert forward == x + outputs + weights
    assert backward == 2 * x + outputs + weights + 2 * weights
