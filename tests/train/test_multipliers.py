"""Learning rates by part of the model, and freezing: what moves, what stays, bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.checkpoints.state import create_state
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import default_config, resolve, to_config
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.sharding.mesh import make_mesh, put_batch
from musclemap_jax.sharding.rules import path_name
from musclemap_jax.train.losses import sigmoid_bce
from musclemap_jax.train.multipliers import check_patterns, factor_of, frozen_modules
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer
from musclemap_jax.train.step import compile_train_step, make_train_step
from musclemap_jax.train.training_loss import TrainingLoss

PARAMS = {
    "video": {"patch_embed": {"kernel": np.ones((2, 3))}, "norm": {"scale": np.ones(3)}},
    "head_video": {"kernel": np.full((3, 4), 0.5), "bias": np.zeros(4)},
}


def updates_of(multipliers, params=PARAMS):
    """The updates of two steps with the same gradients, and the number of moments that the optimizer keeps."""
    optimizer = make_optimizer(OptimizerSpec(weight_decay=0.1, multipliers=multipliers))
    params = jax.tree.map(jnp.float32, params)
    state = optimizer.init(params)
    given = {"norm": jnp.float32(1.0), "learning_rate": jnp.float32(0.01)}
    for step in range(2):
        gradient = jax.tree.map(lambda leaf, step=step: (leaf + 1) * (0.1 - step), params)
        updates, state = optimizer.update(gradient, state, params, **given)
    return updates, sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)


def test_parts_move_by_their_factor():
    plain, num_moments = updates_of(())
    scaled, num_scaled = updates_of((("video/norm", 2.0), ("video/", 0.5), (".*bias", 4.0)))
    factors = {
        "video": {"patch_embed": {"kernel": 0.5}, "norm": {"scale": 2.0}},
        "head_video": {"kernel": 1, "bias": 4},
    }
    jax.tree.map(lambda moved, by, whole: np.testing.assert_array_equal(moved, by * whole), scaled, factors, plain)
    assert num_scaled == num_moments == 2 * (6 + 3 + 12 + 4)


def test_frozen_parts_do_not_move_and_have_no_moments():
    plain, _ = updates_of(())
    frozen, num_moments = updates_of((("video/", 0.0), ("head_video/bias", 0.5)))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), frozen["video"])
    np.testing.assert_array_equal(frozen["head_video"]["kernel"], plain["head_video"]["kernel"])
    np.testing.assert_array_equal(frozen["head_video"]["bias"], 0.5 * plain["head_video"]["bias"])
    assert num_moments == 2 * (12 + 4)


def test_a_pattern_matches_from_the_beginning_and_the_first_counts():
    multipliers = (("video/norm", 0.0), ("video/", 0.5), (r".*/(kernel|bias)$", 2.0))
    paths = ("video/norm/scale", "video/patch_embed/kernel", "head_video/bias", "fusion_video/norm/scale")
    assert [factor_of(path, multipliers) for path in paths] == [0.0, 0.5, 2.0, 1.0]


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ((("vidoe/", 0.1),), "'vidoe/' matches no parameter; near it are video,"),
        ((("video/patch_embed/kernal", 0.1),), "matches no parameter; near it are video/patch_embed/kernel, "),
        ((("norm", 0.1),), "'norm' matches no parameter"),
        (
            (("video/", 0.1), ("video/norm", 0.0)),
            "'video/norm' takes no parameter, since patterns before it match",
        ),
    ],
)
def test_a_pattern_without_effect_is_refused_with_near_names(multipliers, message):
    with pytest.raises(UserError, match=f"^config.optimizer.multipliers: .*{message}"):
        check_patterns(PARAMS, multipliers)
    with pytest.raises(UserError, match=message):
        make_optimizer(OptimizerSpec(multipliers=multipliers)).init(PARAMS)


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        (("video/", 0.1), "expected pairs such as"),
        ((("video/", -0.1),), "expected a factor of at least 0 for 'video/', got -0.1"),
        ((("video/(", 0.1),), r"'video/\(' is not a regular expression: missing \)"),
    ],
)
def test_invalid_multipliers_are_refused(multipliers, message):
    with pytest.raises(UserError, match=f"config.optimizer.multipliers: {message}"):
        OptimizerSpec(multipliers=multipliers)


def test_multipliers_are_a_key_of_the_configuration():
    config = default_config()
    config.optimizer.multipliers = [["video/", 0.1], ["head_", 2]]  # lists, as JSON has them
    spec = resolve(config)
    assert spec.optimizer.multipliers == (("video/", 0.1), ("head_", 2))
    assert resolve(to_config(spec)) == spec


def test_modules_are_frozen_if_all_their_parameters_are():
    assert frozen_modules(PARAMS, (("video/norm", 0.0), (".*bias", 0.0))) == {("video", "norm")}
    assert frozen_modules(PARAMS, (("video/", 0.0),)) == {("video",), ("video", "norm"), ("video", "patch_embed")}


def train(model_spec, multipliers, batch, num_steps=2):
    """States before and after some steps."""
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    model = TransM3E(model_spec)
    optimizer = make_optimizer(OptimizerSpec(multipliers=multipliers))
    state, shardings = create_state(model, optimizer, batch, seed=3, mesh=mesh, ema=True)
    before = jax.device_get(state)
    loss = TrainingLoss(model, multipliers=multipliers)
    step = compile_train_step(make_train_step(loss, optimizer, lambda step: 0.01, ema_decay=0.9), shardings, mesh)
    for _ in range(num_steps):
        state, metrics = step(state, put_batch(batch, mesh))
    return before, jax.device_get(state), metrics


def moved(before, after):
    """Paths of the leaves that are not the same, bit for bit."""
    pairs = zip(*(jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (before, after)), strict=True)
    return {path_name(path) for (path, old), (_, new) in pairs if not np.array_equal(old, new)}


def test_a_frozen_backbone_with_attentive_pooling_trains_the_probe_alone(tiny_model_spec, tiny_batch):
    spec = dataclasses.replace(tiny_model_spec, branches=("skeleton",), num_tokens=0, sites="none", fusion="attentive")
    before, after, metrics = train(spec, (("skeleton/", 0.0),), tiny_batch(4))
    trained = {path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(before.params)[0]}
    probe = {path for path in trained if path.startswith(("fusion_skeleton/", "head_skeleton/"))}
    # The bias of the keys adds the same to all logits of a softmax.
    assert probe - {"fusion_skeleton/attn/key/bias"} <= moved(before.params, after.params) <= probe
    assert moved(before.ema, after.ema) <= probe
    assert moved(before.batch_stats, after.batch_stats) == set()
    of_probe = jax.tree.leaves([after.params["fusion_skeleton"], after.params["head_skeleton"]])
    num_probe = sum(leaf.size for leaf in of_probe)
    assert sum(leaf.size for leaf in jax.tree.leaves(after.opt_state) if leaf.ndim) == 2 * num_probe
    assert metrics["gradient_norm"] > 0


def test_a_frozen_unit_keeps_its_statistics_and_the_others_do_not(tiny_model_spec, tiny_batch):
    spec = dataclasses.replace(tiny_model_spec, branches=("skeleton",), num_tokens=0, sites="none", fusion="none")
    before, after, _ = train(spec, (("skeleton/unit01", 0.0),), tiny_batch(4))
    statistics, params = moved(before.batch_stats, after.batch_stats), moved(before.params, after.params)
    assert {"/".join(path.split("/")[:2]) for path in statistics} == {"skeleton/input_norm", "skeleton/unit02"}
    assert not [path for path in params if path.startswith("skeleton/unit01")]
    assert [path for path in params if path.startswith("skeleton/unit02")]


def test_a_frozen_branch_answers_in_training_as_in_evaluation(tiny_model_spec, tiny_batch):
    spec = dataclasses.replace(tiny_model_spec, branches=("skeleton",), num_tokens=0, sites="none", fusion="none")
    model, batch, key = TransM3E(spec), tiny_batch(4), jax.random.key(0)
    variables = jax.jit(model.init)(key, batch)
    answer = jax.jit(model.apply)(variables, batch).logits
    expected = sigmoid_bce(answer, batch["muscles"], batch["clip_valid"])
    losses = {}
    for multipliers in ((), (("skeleton/", 0.0),)):
        loss = jax.jit(TrainingLoss(model, multipliers=multipliers))
        losses[multipliers] = float(loss(variables["params"], variables["batch_stats"], batch, key, jnp.int32(0))[0])
    trained, frozen = losses.values()
    np.testing.assert_allclose(frozen, expected, rtol=1e-6)
    assert abs(trained - expected) > 1e-4  # by the batch's own statistics
