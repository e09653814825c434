"""Decomposed relative positions in time, height and width for pooling attention.

Source: MViTv2 (arXiv:2112.01526, section 4.1) as in PySlowFast's `slowfast/models/attention.py`: the logit of a patch
query at (t, h, w) and a patch key at (t', h', w') gains q . (R_t[t, t'] + R_h[h, h'] + R_w[w, w']), with q the pooled
and normalised query before scaling. Class tokens have no position and gain nothing.

We differ in form, not in value: interpolation and the choice of rows are one constant matrix, so that the table's
gradient is a matrix product instead of a scatter; and the sum over the three axes is kept as the product of
`position_terms` and `key_coordinates`, which attention appends to its queries and keys, so that no bias tensor is made.

Names of axes: B clips, T H W the queries' grid, T2 H2 W2 the keys' grid, queries and keys on one axis, c width of a
head.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from musclemap_jax.models.kernels.sliding_windows import Axes


def table_length(query_size: int, key_size: int) -> int:
    """Number of distances between a query's and a key's grid on one axis."""
    return 2 * max(query_size, key_size) - 1


def relative_index(query_size: int, key_size: int) -> Int[np.ndarray, "queries keys"]:
    """Row of the table for every query and key, in [0, table_length).

    Both coordinates are scaled to the larger grid; the distance is truncated towards zero.
    """
    query_ratio = np.float32(max(key_size / query_size, 1.0))
    key_ratio = np.float32(max(query_size / key_size, 1.0))
    query = np.arange(query_size, dtype=np.float32)[:, None] * query_ratio
    key = np.arange(key_size, dtype=np.float32)[None, :] * key_ratio
    return np.trunc(query - key + np.float32(key_size - 1) * key_ratio).astype(np.int64)


def interpolation_matrix(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Linear interpolation of `source` rows to `target` rows, float32.

    Centres of cells are aligned and the ends repeated (PyTorch's `mode="linear", align_corners=False`).
    """
    if source == target:
        return np.eye(source, dtype=np.float32)
    position = np.maximum((np.arange(target) + 0.5) * source / target - 0.5, 0.0)
    low = np.minimum(np.floor(position).astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    fraction = (position - low).astype(np.float32)
    matrix = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    np.add.at(matrix, (rows, low), 1.0 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    return matrix


@functools.lru_cache(maxsize=256)
def _row_selection(stored: int, query_size: int, key_size: int) -> np.ndarray:
    """(queries * keys, stored): interpolation to the needed length, then the row of each query and key."""
    table = interpolation_matrix(stored, table_length(query_size, key_size))
    return table[relative_index(query_size, key_size).reshape(-1)]


def position_embeddings(
    table: Float[Array, "rows c"], query_size: int, key_size: int
) -> Float[Array, "{query_size} {key_size} c"]:
    """Embedding of the distance of every query and key on one axis, in the dtype of the table.

    The table's learned rows are interpolated if there are not `table_length(query_size, key_size)` of them.
    """
    selection = jnp.asarray(_row_selection(table.shape[0], query_size, key_size), table.dtype)
    rows = jnp.matmul(selection, table, precision=lax.Precision.HIGHEST)
    return rows.reshape(query_size, key_size, table.shape[1])


def position_terms(
    queries: Float[Array, "B T H W heads c"],
    tables: tuple[Float[Array, "_ c"], Float[Array, "_ c"], Float[Array, "_ c"]],
    key_grid: Axes,
) -> tuple[Float[Array, "B T H W heads T2"], Float[Array, "B T H W heads H2"], Float[Array, "B T H W heads W2"]]:
    """Dot products of every patch query with the embeddings of its distances, one axis at a time.

    Args:
      queries: Pooled and normalised, not scaled.
      tables: The tables of time, height and width.
      key_grid: (T2, H2, W2).

    Returns:
      The terms of time, height and width, in the dtype of the queries.
    """
    grid = queries.shape[1:4]
    embeddings = [
        position_embeddings(table, q, k).astype(queries.dtype)
        for table, q, k in zip(tables, grid, key_grid, strict=True)
    ]
    time, height, width = (
        jnp.einsum(f"bthwnc,{axis}kc->bthwnk", queries, rows) for axis, rows in zip("thw", embeddings, strict=True)
    )
    return time, height, width


@functools.lru_cache(maxsize=256)
def key_coordinates(key_grid: Axes) -> Float[np.ndarray, "keys e"]:
    """One-hot time, height and width of every key in row-major order: (T2 H2 W2, T2 + H2 + W2) float32.

    The concatenated terms times its transpose is the bias of the logits.
    """
    positions = np.indices(key_grid).reshape(3, -1)
    return np.concatenate(
        [np.eye(size, dtype=np.float32)[axis] for size, axis in zip(key_grid, positions, strict=True)], axis=1
    )
