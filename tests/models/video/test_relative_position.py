"""Decomposed relative positions against the published tables and biases."""

import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.video.relative_position import (
    interpolation_matrix,
    key_coordinates,
    position_embeddings,
    position_terms,
    relative_index,
    table_length,
)
from tests.models import goldens

CASES = [f"case{case}_tkl{tokens}" for case in range(5) for tokens in (1, 20)]


@pytest.mark.parametrize("rows", [5, 7, 9, 13])
def test_interpolated_table_equals_the_published_one(rows):
    golden = goldens.load("relpos")
    goldens.assert_close(interpolation_matrix(7, rows) @ golden["table"], golden[f"get_rel_pos_{rows}"], 2e-6)


def bias(golden, name, num_axes):
    """Bias of the logits of the patches from the first axes of (height, width, time)."""
    query_grid, key_grid = (tuple(map(int, golden[f"{name}/{kind}_shape"])) for kind in "qk")
    num_tokens = int(name.split("tkl")[1])
    queries = jnp.asarray(golden[f"{name}/q"].transpose(0, 2, 1, 3)[:, num_tokens:])
    queries = queries.reshape(queries.shape[0], *query_grid, *queries.shape[2:])
    tables = tuple(jnp.asarray(golden[f"{name}/rel_pos_{axis}"]) for axis in "thw")
    terms = list(position_terms(queries, tables, key_grid))
    if num_axes == 2:
        terms[0] = jnp.zeros_like(terms[0])
    terms = jnp.concatenate(terms, axis=-1)
    full = terms.reshape(terms.shape[0], -1, *terms.shape[4:]) @ key_coordinates(key_grid).T
    return full.transpose(0, 2, 1, 3), num_tokens


@pytest.mark.parametrize("name", CASES)
def test_logits_of_awkward_grids_equal_the_published_ones(name):
    golden = goldens.load("relpos")
    for num_axes, stored in ((2, "after_spatial"), (3, "after_temporal")):
        added, num_tokens = bias(golden, name, num_axes)
        logits = golden[f"{name}/attn_in"].copy()
        logits[:, :, num_tokens:, num_tokens:] += added
        goldens.assert_close(logits, golden[f"{name}/{stored}"], 2e-6, stored)


def test_index_by_hand():
    np.testing.assert_array_equal(relative_index(2, 2), [[1, 0], [2, 1]])
    # Q 4, K 2: keys lie at 0 and 2 of the finer grid.
    np.testing.assert_array_equal(relative_index(4, 2), [[2, 0], [3, 1], [4, 2], [5, 3]])
    # Q 2, K 3: queries lie at 0 and 1.5; truncation towards zero.
    np.testing.assert_array_equal(relative_index(2, 3), [[2, 1, 0], [3, 2, 1]])


def test_rows_are_taken_as_they_are_when_the_length_fits():
    table = jnp.asarray(np.random.default_rng(0).standard_normal((table_length(5, 3), 4)), jnp.float32)
    np.testing.assert_array_equal(position_embeddings(table, 5, 3), table[relative_index(5, 3)])


def test_interpolation_keeps_a_straight_line_inside_and_repeats_the_ends():
    line = interpolation_matrix(5, 9) @ np.arange(5, dtype=np.float32)
    expected = np.clip((np.arange(9) + 0.5) * 5 / 9 - 0.5, 0, 4)
    np.testing.assert_allclose(line, expected, atol=1e-6)
