"""Tests of the schedule, of the updates and of what weight decay falls on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.sharding.rules import path_name
from musclemap_jax.train.optimizer import OptimizerSpec, clip_by_norm, decay_mask, make_optimizer, make_schedule

RATE = jnp.float32(0.1)


def test_schedule_warms_up_then_falls_along_a_cosine():
    schedule = make_schedule(OptimizerSpec(learning_rate=2.0, warmup_fraction=0.2, final_fraction=0.1), num_steps=100)
    rates = [float(schedule(step)) for step in (0, 10, 20, 60, 100)]
    halfway = 2.0 * (0.9 * 0.5 + 0.1)
    np.testing.assert_allclose(rates, [0.0, 1.0, 2.0, halfway, 0.2], rtol=1e-5)


def test_a_cosine_from_the_start_is_pyslowfasts():
    """196 epochs, of which 34 warm up from a tenth of the rate to where the cosine then is."""
    spec = OptimizerSpec(
        learning_rate=0.1, warmup_fraction=34 / 196, initial_fraction=0.1, final_fraction=0.0, cosine_from_start=True
    )
    schedule = make_schedule(spec, num_steps=196)
    at_34 = 0.05 * (math.cos(math.pi * 34 / 196) + 1)
    expected = [0.01, (0.01 + at_34) / 2, at_34, 0.05, 0.0]
    np.testing.assert_allclose([float(schedule(step)) for step in (0, 17, 34, 98, 196)], expected, atol=1e-7)
    assert at_34 < 0.093


def test_without_warmup_the_rate_starts_at_its_peak():
    schedule = make_schedule(OptimizerSpec(learning_rate=2.0, warmup_fraction=0.0), num_steps=10)
    np.testing.assert_allclose(schedule(0), 2.0, rtol=1e-6)


def test_only_kernels_decay_whatever_their_dimensions(tiny_model_spec, tiny_batch):
    model = TransM3E(tiny_model_spec)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), tiny_batch(1), distil=True))["params"]
    decayed = {path_name(path): value for path, value in jax.tree_util.tree_flatten_with_path(decay_mask(params))[0]}
    by_last_name = {}
    for path, value in decayed.items():
        by_last_name.setdefault(path.rpartition("/")[2], set()).add(value)
    kernels = {"kernel", "conv_kernel", "down_kernel", "reduce_kernel", "subset_kernel"}
    kernels |= {"pool_q", "pool_k", "pool_v", "spread"}
    assert {name for name, values in by_last_name.items() if values == {True}} == kernels & by_last_name.keys()
    others = {"bias", "conv_bias", "scale", "classification", "receiver", "tokens", "rel_pos_h", "adjacency"}
    assert others <= {name for name, values in by_last_name.items() if values == {False}}
    assert all(len(values) == 1 for values in by_last_name.values())


def test_decay_shrinks_kernels():
    params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones((3, 2))}}
    optimizer = make_optimizer(OptimizerSpec(weight_decay=0.5))
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params, norm=jnp.zeros(()), learning_rate=RATE)
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.05, rtol=1e-6)
    for untouched in (updates["dense"]["bias"], updates["norm"]["scale"]):
        np.testing.assert_array_equal(untouched, 0.0)


def test_clipping_bounds_the_gradient_that_adam_sees():
    params = {"kernel": jnp.zeros((1, 2))}
    optimizer = make_optimizer(OptimizerSpec(weight_decay=0.0, clip_norm=1.0))
    gradient = {"kernel": jnp.array([[30.0, 40.0]])}
    norm = optax.tree.norm(gradient)
    _, state = optimizer.update(gradient, optimizer.init(params), params, norm=norm, learning_rate=RATE)
    first_moment = jax.tree.leaves(state, is_leaf=lambda leaf: hasattr(leaf, "mu"))
    moments = next(leaf.mu for leaf in first_moment if hasattr(leaf, "mu"))
    np.testing.assert_allclose(moments["kernel"], 0.1 * np.array([[0.6, 0.8]]), rtol=1e-5)


def test_updates_are_those_of_adamw_with_the_schedule_inside():
    spec, num_steps = OptimizerSpec(learning_rate=0.1, warmup_fraction=0.5, clip_norm=0.0), 4
    schedule = make_schedule(spec, num_steps)
    ours, peer = make_optimizer(spec), optax.adamw(schedule, weight_decay=spec.weight_decay, mask=decay_mask)
    params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
    state, peer_state = ours.init(params), peer.init(params)
    for step in range(num_steps):
        gradient = jax.tree.map(lambda leaf, step=step: leaf * (step - 1.5), params)
        updates, state = ours.update(gradient, state, params, norm=jnp.ones(()), learning_rate=schedule(step))
        expected, peer_state = peer.update(gradient, peer_state, params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)


@pytest.mark.parametrize("decay_all", [False, True])
def test_updates_are_those_of_sgd_in_pytorch(decay_all):
    """gradient + decay * weight; momentum 0.9 of it; rate * (that + 0.9 * momentum)."""
    optimizer = make_optimizer(OptimizerSpec(name="sgd", weight_decay=0.1, decay_all=decay_all, clip_norm=0.0))
    params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
    state = optimizer.init(params)
    expected = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    momentum = dict.fromkeys(expected, 0.0)
    for step in range(3):
        gradient = {"kernel": np.array([[0.3, step - 1.0]]), "bias": np.array([1.0 + step])}
        as_jax = jax.tree.map(jnp.float32, gradient)
        updates, state = optimizer.update(as_jax, state, params, norm=jnp.ones(()), learning_rate=RATE)
        params = optax.apply_updates(params, updates)
        for name, weight in expected.items():
            decayed = gradient[name] + (0.1 * weight if decay_all or name == "kernel" else 0.0)
            momentum[name] = 0.9 * momentum[name] + decayed
            expected[name] = weight - 0.1 * (decayed + 0.9 * momentum[name])
    for name, leaf in params.items():
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-5)


@pytest.mark.parametrize("size", [0.0, 0.3, 1.0, 50.0])
def test_clipping_by_a_given_norm_equals_optax(size):
    gradient = {"a": jnp.array([[0.6, 0.0]]) * size, "b": jnp.array([0.8]) * size}
    clip = optax.clip_by_global_norm(1.0)
    expected, _ = clip.update(gradient, clip.init(gradient))
    ours = clip_by_norm(1.0)
    clipped, state = ours.update(gradient, ours.init(gradient), norm=optax.tree.norm(gradient))
    assert state == clip.init(gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), clipped, expected)


def test_frozen_parts_do_not_move_and_have_no_moments():
    params = {"video": {"kernel": jnp.ones((2, 3))}, "teacher": {"kernel": jnp.ones((4, 5))}}
    optimizer = make_optimizer(OptimizerSpec(weight_decay=0.5), frozen=("teacher",))
    state = optimizer.init(params)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim) == [(2, 3), (2, 3)]
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, state, params, norm=optax.tree.norm(gradient), learning_rate=RATE)
    np.testing.assert_array_equal(updates["teacher"]["kernel"], 0.0)
    assert float(jnp.abs(updates["video"]["kernel"]).min()) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "adam"},
        {"learning_rate": 0.0},
        {"warmup_fraction": 1.0},
        {"initial_fraction": 1.5},
        {"beta2": 1.0},
        {"momentum": 1.0},
        {"clip_norm": -1.0},
        {"ema_decay": 1.0},
    ],
)
def test_invalid_settings_are_refused(change):
    with pytest.raises(UserError, match=next(iter(change))):
        OptimizerSpec(**change)
