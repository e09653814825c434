"""Tests of the temporal convolution against the published code's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.skeleton.temporal_conv import MultiScaleTemporalConv, temporal_branches
from musclemap_jax.pretrained.hdgcn_names import temporal_conv_arrays
from tests.models import hdgcn_goldens as goldens

TINY = goldens.load("hdgcn_tiny")


@pytest.mark.parametrize("stride", [1, 2])
class TestTemporalConv:
    entries = goldens.strip(temporal_conv_arrays("t", ()), "t.")

    @pytest.mark.parametrize("num_frames", [8, 9])
    def test_equals_the_published(self, stride, num_frames):
        group, length = f"tcn{stride}/", f"tcn{stride}/T{num_frames}/"
        x = goldens.to_ours(TINY[f"tcn/x_T{num_frames}"])
        module = MultiScaleTemporalConv(stride)
        variables = goldens.from_published(
            goldens.unpack(f"{group}param/"), goldens.init_shapes(module, x), self.entries
        )
        for mode in ("eval", "train"):
            apply = functools.partial(module.apply, train=mode == "train", mutable=["batch_stats"])
            y, state = jax.jit(apply)(variables, x)
            branches = np.stack(np.split(goldens.to_torch(y), 4, axis=1))  # (4, N, C / 4, T, V)
            assert goldens.relative_error(branches, TINY[f"{length}{mode}/branches"]) < 2e-6
        gradients, input_gradient = goldens.train_gradients(
            MultiScaleTemporalConv(stride, dtype=jnp.float64), variables, x
        )
        assert goldens.relative_error(goldens.to_torch(input_gradient), TINY[f"{length}train/grad_x"]) < 1e-6
        if num_frames == 8:
            goldens.check_gradients(self.entries, gradients, goldens.unpack(f"{length}train/grad/"))
            goldens.check_new_statistics(self.entries, state, goldens.unpack(f"{length}train/new/"))


def test_the_backward_pass_keeps_no_shifted_copies():
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.standard_normal((3, 4, 5, 8, 2)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((2, 5, 4, 4)), jnp.float32)
    _, transpose = jax.vjp(lambda *operands: temporal_branches(*operands, 1, (1, 2)), hidden, kernel)
    assert sum(kept.size for kept in jax.tree.leaves(transpose)) <= hidden.size + kernel.size
