"""Distillation's fraction of the gradient: values computed by hand, the same on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.sharding.mesh import make_mesh, put_batch, replicated
from musclemap_jax.train.kd_gradient import compile_kd_gradient, make_kd_gradient
from musclemap_jax.train.objective import ObjectiveSpec, kd_schedule
from musclemap_jax.train.training_loss import TrainingLoss
from tests.train.test_objective import TwoTokens

PARAMS = {"video": {"tokens": np.zeros((1, 2), np.float32)}, "head_video": {"bias": np.zeros(3, np.float32)}}


def state_at(step):
    return TrainState(jnp.int32(step), PARAMS, {}, (), None, jnp.int32(0), jnp.uint32(0))


def test_fraction_of_the_gradient_by_hand():
    mesh = make_mesh({"data": 2, "fsdp": 1, "tensor": 1}, jax.devices()[:2])
    spec = ObjectiveSpec(kd_weight=1.0, kd_kind="mse", kd_axis="channel", kd_start_fraction=0.5)
    loss = TrainingLoss(TwoTokens(), spec, kd_schedule(spec, 10))
    state = state_at(0)
    shardings = jax.tree.map(lambda _: replicated(mesh), state)
    measure = compile_kd_gradient(make_kd_gradient(loss, ("video",), num_parts=2), shardings, mesh)
    # Only the first part, clips 0 and 3, is looked at.
    muscles = np.array([[1.0, 0.0], [np.nan, np.nan], [np.nan, np.nan], [1.0, 0.0]], np.float32)
    batch = put_batch({"muscles": muscles, "clip_valid": np.ones(4, bool)}, mesh)
    # Cross-entropy: (0.5 - label) / 2, so (-0.25, 0.25); squared distance from (0.1, 0): (-0.2, 0).
    fractions = measure(state_at(7), batch)
    expected = 0.2 / np.hypot(0.45, 0.25)
    assert fractions.keys() == {"kd_gradient_fraction", "kd_gradient_fraction_video"}
    np.testing.assert_allclose(list(fractions.values()), [expected] * 2, rtol=1e-5)
    assert measure(state, batch)["kd_gradient_fraction"] == 0  # it has not started


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_without_a_gradient_the_fraction_is_zero(weight):
    spec = ObjectiveSpec(kd_weight=weight, kd_kind="mse")
    measure = make_kd_gradient(TrainingLoss(TwoTokens(), spec), ("video",))
    batch = {"muscles": jnp.array([[0.5, 0.5]]), "clip_valid": jnp.zeros(1, bool)}
    assert measure(state_at(0), batch)["kd_gradient_fraction"] == 0
