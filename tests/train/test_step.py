"""Tests of the training step: meshes, gradient accumulation, non-finite steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from musclemap_jax.checkpoints.state import create_state
from musclemap_jax.models.outputs import DistillationSite, ModelOutput
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.sharding.mesh import AXES, batch_sharding, make_mesh, put_batch
from musclemap_jax.train.objective import ObjectiveSpec, objective
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer, make_schedule
from musclemap_jax.train.step import compile_train_step, make_train_step, split_batch
from musclemap_jax.train.training_loss import TrainingLoss

NUM_STEPS = 50
OPTIMIZER = OptimizerSpec(learning_rate=3e-3, warmup_fraction=0.1)
ONE_DEVICE = {"data": 1, "fsdp": 1, "tensor": 1}


def set_up(model_spec, batch, mesh_sizes, num_devices, num_parts=1, ema_decay=0.9, optimizer=None):
    """State, compiled step and mesh."""
    mesh = make_mesh(mesh_sizes, jax.devices()[:num_devices])
    model = TransM3E(model_spec)
    optimizer = optimizer or make_optimizer(OPTIMIZER)
    state, shardings = create_state(model, optimizer, batch, seed=3, mesh=mesh, ema=True)
    step = make_train_step(TrainingLoss(model), optimizer, make_schedule(OPTIMIZER, NUM_STEPS), ema_decay, num_parts)
    return state, compile_train_step(step, shardings, mesh), mesh


def losses(model_spec, batch, mesh_sizes, num_devices, num_steps=5):
    state, step, mesh = set_up(model_spec, batch, mesh_sizes, num_devices)
    rows = []
    for _ in range(num_steps):
        state, metrics = step(state, put_batch(batch, mesh))
        rows.append(float(metrics["loss"]))
    return rows


@pytest.fixture(scope="module")
def alone(tiny_model_spec, tiny_batch):
    """The model with dropout, and its losses of the first twenty steps on one device."""
    spec = dataclasses.replace(tiny_model_spec, head_dropout_rate=0.5)
    return spec, losses(spec, tiny_batch(8), ONE_DEVICE, 1, num_steps=20)


@pytest.mark.parametrize("sizes", [(8, 1, 1), (1, 8, 1), (2, 2, 2)], ids=str)
def test_twenty_steps_give_the_same_losses_on_every_mesh(alone, tiny_batch, sizes):
    spec, expected = alone
    spread = losses(spec, tiny_batch(8), dict(zip(AXES, sizes, strict=True)), 8, num_steps=20)
    np.testing.assert_allclose(spread, expected, atol=1e-4)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize(("batch_size", "num_parts"), [(32, 2), (64, 4), (9, 3)])
def test_parts_are_a_batch_and_the_ends_of_an_even_part_are_ends_of_the_batch(batch_size, num_parts):
    parts = np.asarray(split_batch({"clip": jnp.arange(batch_size)}, num_parts)["clip"])
    assert sorted(parts.ravel().tolist()) == list(range(batch_size))
    if parts.shape[1] % 2 == 0:
        assert (parts + parts[:, ::-1] == batch_size - 1).all()


def test_a_batch_is_split_without_communication():
    mesh = make_mesh({"data": 8, "fsdp": 1, "tensor": 1}, jax.devices())
    batch = {"video": jax.ShapeDtypeStruct((32, 4, 4), jnp.uint8)}
    by_clip = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
    split = jax.jit(lambda x: split_batch(x, 2), in_shardings=batch_sharding(mesh), out_shardings=by_clip)
    text = split.lower(batch).compile().as_text()
    assert [line for line in text.splitlines() if " all-" in line or "permute" in line] == []


def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny_video_spec, tiny_batch):
    batch = tiny_batch(8)
    descent = optax.sgd(1.0)  # the change of the parameters is the gradient, which Adam would blow up where it is tiny
    results = {}
    for num_parts in (1, 4):
        state, step, mesh = set_up(
            tiny_video_spec, batch, {"data": 2, "fsdp": 1, "tensor": 1}, 2, num_parts, optimizer=descent
        )
        state, metrics = step(state, put_batch(batch, mesh))
        results[num_parts] = jax.device_get((state.params, metrics["loss"]))
    jax.tree.map(lambda one, four: np.testing.assert_allclose(four, one, atol=2e-6), results[1], results[4])


def test_a_non_finite_step_is_skipped_and_a_finite_one_moves_parameters_and_average(tiny_video_spec, tiny_batch):
    batch = tiny_batch(2)
    state, step, mesh = set_up(tiny_video_spec, batch, ONE_DEVICE, 1)
    state, _ = step(state, put_batch(batch, mesh))  # the first rate of the warm-up is zero
    before = jax.device_get(state)
    state, metrics = step(state, put_batch(batch | {"muscles": np.full((2, 20), np.nan, np.float32)}, mesh))
    after = jax.device_get(state)
    assert metrics["skipped"] == 1
    assert (after.step, after.skipped) == (before.step + 1, 1)
    for part in ("params", "opt_state", "ema", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(before, part))

    state, metrics = step(state, put_batch(batch, mesh))
    assert metrics["skipped"] == 0
    moved = jax.tree.map(lambda new, old: float(jnp.abs(new - old).max()), jax.device_get(state.params), before.params)
    assert max(jax.tree.leaves(moved)) > 0
    decay = 3 / 12  # (1 + step) / (10 + step) at step 2, below the decay of 0.9
    expected = jax.tree.map(lambda old, new: decay * old + (1 - decay) * np.asarray(new), before.ema, state.params)
    jax.tree.map(lambda found, value: np.testing.assert_allclose(found, value, atol=1e-6), state.ema, expected)


@pytest.mark.parametrize("kd_weight", [0.0, 2.0])
def test_objective_is_the_weighted_sum_of_its_terms(kd_weight):
    rng = np.random.default_rng(0)
    logits = {name: jnp.asarray(rng.standard_normal((3, 20)), jnp.float32) for name in ("fused", "video", "skeleton")}
    tokens = [jnp.asarray(rng.standard_normal((3, 20, 4)), jnp.float32) for _ in range(4)]
    sites = {
        "to_video/unit01": DistillationSite(tokens[0], tokens[1]),
        "to_skeleton/unit01": DistillationSite(tokens[2], tokens[3]),
    }
    output = ModelOutput(logits["fused"], {name: logits[name] for name in ("video", "skeleton")}, sites)
    muscles = jnp.asarray(rng.random((3, 20)) < 0.3, jnp.float32)
    spec = ObjectiveSpec(branch_weight=0.5, kd_weight=kd_weight)
    total, terms = objective(output, muscles, jnp.ones(3, bool), spec)
    expected = terms["loss_fused"] + 0.5 * (terms["loss_video"] + terms["loss_skeleton"])
    if kd_weight:
        expected += kd_weight * (terms["kd_to_video"] + terms["kd_to_skeleton"]) / 2
        assert terms["kd_to_video"] == terms["kd_to_video/unit01"]  # the mean of one
    else:
        assert not [name for name in terms if name.startswith("kd_")]
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(terms["loss_video"], bce(logits["video"], muscles), rtol=1e-5)


def bce(logits, muscles):
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    return -np.mean(np.where(np.asarray(muscles) == 1, np.log(probability), np.log1p(-probability)))
