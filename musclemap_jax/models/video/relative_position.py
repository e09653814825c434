"""Decomposed relative positions in time, height and width for pooling attention.

Source: MViTv2 (arXiv:2112.01526, section 4.1) as in PySlowFast's `slowfast/models/attention.py`: the logit of a patch
query at (t, h, w) and a patch key at (t', h', w') gains q . (R_t[t, t'] + R_h[h, h'] + R_w[w, w']), with q the pooled
and normalised query before scaling. Class tokens have no position and gain nothing.

Where we differ in form, not in value: interpolation and the choice of rows are one constant matrix, so that the
table's gradient is a matrix product and not a scatter; and the sum over the three axes is kept as the product of
`position_terms` and `key_coordinates`, which attention appends to its queries and keys, so that no tensor of biases
is made.

Letters of shapes: B clips, Q K the lengths of the query's and key's grid on one axis, c the width of a head.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from musclemap_jax.models.kernels.depthwise import Triple


def table_length(query_size: int, key_size: int) -> int:
    """Number of distances between a query's and a key's grid on one axis: 2 max(Q, K) - 1."""
    return 2 * max(query_size, key_size) - 1


def relative_index(query_size: int, key_size: int) -> np.ndarray:
    """Row of the table for every query and key: (Q, K) int64 in [0, 2 max(Q, K) - 2].

    Both coordinates are scaled to the larger grid; the distance is truncated towards zero.
    """
    query_ratio = np.float32(max(key_size / query_size, 1.0))
    key_ratio = np.float32(max(query_size / key_size, 1.0))
    query = np.arange(query_size, dtype=np.float32)[:, None] * query_ratio
    key = np.arange(key_size, dtype=np.float32)[None, :] * key_ratio
    return np.trunc(query - key + np.float32(key_size - 1) * key_ratio).astype(np.int64)


def interpolation_matrix(source: int, target: int) -> np.ndarray:
    """Linear interpolation of `source` rows to `target` rows: (target, source) float32.

    Centres of cells are aligned and the ends repeated (PyTorch's `mode="linear", align_corners=False`).
    """
    if source == target:
        return np.eye(source, dtype=np.float32)
    position = np.maximum((np.arange(target) + 0.5) * source / target - 0.5, 0.0)
    low = np.minimum(np.floor(position).astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    share = (position - low).astype(np.float32)
    matrix = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    np.add.at(matrix, (rows, low), 1.0 - share)
    np.add.at(matrix, (rows, high), share)
    return matrix


@functools.lru_cache(maxsize=256)
def _row_choice(stored: int, query_size: int, key_size: int) -> np.ndarray:
    """(Q * K, stored): interpolation to the needed length, then the row of each query and key."""
    table = interpolation_matrix(stored, table_length(query_size, key_size))
    return table[relative_index(query_size, key_size).reshape(-1)]


def position_embeddings(table: jax.Array, query_size: int, key_size: int) -> jax.Array:
    """Embedding of the distance of every query and key on one axis.

    Args:
      table: (L, c) learned rows; interpolated when L is not `table_length(query_size, key_size)`.
      query_size: Q.
      key_size: K.

    Returns:
      (Q, K, c) in the dtype of the table.
    """
    choice = jnp.asarray(_row_choice(table.shape[0], query_size, key_size), table.dtype)
    rows = jnp.matmul(choice, table, precision=lax.Precision.HIGHEST)
    return rows.reshape(query_size, key_size, table.shape[1])


def position_terms(
    queries: jax.Array, tables: tuple[jax.Array, jax.Array, jax.Array], key_grid: Triple
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Dot products of every patch query with the embeddings of its distances, one axis at a time.

    Args:
      queries: (B, T, H, W, heads, c) pooled and normalised, not scaled.
      tables: of time, height and width, (L, c) each.
      key_grid: (T', H', W') of the keys.

    Returns:
      Terms (B, T, H, W, heads, T'), (..., H') and (..., W'), in the dtype of the queries.
    """
    grid = queries.shape[1:4]
    time, height, width = (
        position_embeddings(table, q, k).astype(queries.dtype)
        for table, q, k in zip(tables, grid, key_grid, strict=True)
    )
    return (
        jnp.einsum("bthwnc,tkc->bthwnk", queries, time),
        jnp.einsum("bthwnc,hkc->bthwnk", queries, height),
        jnp.einsum("bthwnc,wkc->bthwnk", queries, width),
    )


@functools.lru_cache(maxsize=256)
def key_coordinates(key_grid: Triple) -> np.ndarray:
    """One-hot time, height and width of every key in row-major order: (T' H' W', T' + H' + W') float32.

    Concatenated terms times this matrix, transposed, is the bias of the logits.
    """
    places = np.stack(np.meshgrid(*map(np.arange, key_grid), indexing="ij"), axis=-1).reshape(-1, 3)
    return np.concatenate(
        [np.eye(size, dtype=np.float32)[places[:, axis]] for axis, size in enumerate(key_grid)], axis=1
    )
