"""Tests of the graph convolution against the published code's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.skeleton.edge_conv import nearest_one_hot
from musclemap_jax.models.skeleton.graph import skeleton_graph
from musclemap_jax.models.skeleton.hierarchical_conv import HierarchicalGraphConv
from musclemap_jax.pretrained.hdgcn_names import graph_conv_arrays
from tests.models import hdgcn_goldens as goldens

TINY = goldens.load("hdgcn_tiny")


class TestGraphConv:
    graph = skeleton_graph("ntu25")
    entries = goldens.strip(graph_conv_arrays("g", (), range(6), attention=True, shortcut=True), "g.")

    @pytest.fixture
    def x(self):
        return goldens.to_ours(TINY["gcn/x"])

    @pytest.fixture
    def variables(self, x):
        shapes = goldens.init_shapes(HierarchicalGraphConv(self.graph, 16), x)
        return goldens.from_published(goldens.unpack("gcn/param/"), shapes, self.entries)

    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_equals_the_published(self, x, variables, mode):
        module = HierarchicalGraphConv(self.graph, 16)
        collections = ["intermediates", "batch_stats"]
        apply = functools.partial(module.apply, train=mode == "train", mutable=collections)
        y, state = jax.jit(apply)(variables, x)
        assert goldens.relative_error(goldens.to_torch(y), TINY[f"gcn/{mode}/out"]) < 5e-6
        neighbours = state["intermediates"]["edge"]["neighbours"][0].argmax(-1)  # (N, L, V, k)
        np.testing.assert_array_equal(np.sort(neighbours.swapaxes(0, 1), -1), np.sort(TINY[f"gcn/{mode}/knn"], -1))
        neighbours = state["intermediates"]["attention"]["edge"]["neighbours"][0][:, 0].argmax(-1)
        np.testing.assert_array_equal(np.sort(neighbours, -1), np.sort(TINY[f"gcn/{mode}/aha_knn"], -1))
        if mode == "train":
            goldens.check_new_statistics(self.entries, state, goldens.unpack("gcn/train/new/"))

    def test_gradients_equal_the_published(self, x, variables):
        module = HierarchicalGraphConv(self.graph, 16, dtype=jnp.float64)
        gradients, input_gradient = goldens.train_gradients(module, variables, x)
        assert goldens.relative_error(goldens.to_torch(input_gradient), TINY["gcn/train/grad_x"]) < 1e-6
        goldens.check_gradients(self.entries, gradients, goldens.unpack("gcn/train/grad/"))
        adjacency = np.asarray(gradients["params"]["adjacency"])
        assert goldens.relative_error(adjacency[0], TINY["gcn/train/grad_PA_layer0"]) < 1e-6
        assert abs(np.linalg.norm(adjacency) / TINY["gcn/train/grad_PA_norm"] - 1) < 1e-6


def test_neighbours_of_equal_distance_go_to_the_lower_index():
    vertices = jnp.array([[0.0], [1.0], [-1.0], [3.0]])
    one_hot = np.asarray(nearest_one_hot(vertices, 2))
    np.testing.assert_array_equal(one_hot.argmax(-1), [[0, 1], [1, 0], [2, 0], [3, 1]])
    np.testing.assert_array_equal(one_hot.sum(-1), 1)
    assert nearest_one_hot(vertices, 9).shape == (4, 4, 4)
