"""The objective's distillation terms: when they act, and what the logits teach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import default_config, resolve, to_config
from musclemap_jax.models.distillation import logit_distillation_loss
from musclemap_jax.models.outputs import DistillationSite, ModelOutput
from musclemap_jax.train.losses import Asymmetric
from musclemap_jax.train.objective import ObjectiveSpec, kd_schedule, objective
from musclemap_jax.train.training_loss import TrainingLoss


class Tokens(nn.Module):
    """A part of a model: its one parameter."""

    @nn.compact
    def __call__(self):
        return self.param("tokens", nn.initializers.zeros, (1, 2))


class TwoTokens(nn.Module):
    """A video branch whose logits are its parameter, which also is a receiver token that should become (0.1, 0)."""

    @nn.compact
    def __call__(self, batch, train=False):
        logits = jnp.broadcast_to(Tokens(name="video")(), batch["muscles"].shape)
        sender = jnp.broadcast_to(jnp.array([[0.1, 0.0]]), logits.shape)
        sites = {"to_video/unit01": DistillationSite(sender[:, None], logits[:, None])}
        return ModelOutput(logits, {"video": logits}, sites)


BATCH = {"muscles": jnp.array([[1.0, 0.0]]), "clip_valid": jnp.ones(1, bool)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"kd_start_fraction": 0.3}, [0, 0, 1, 1, 1, 1]),
        ({"kd_start_fraction": 0.3, "kd_warmup_fraction": 0.4}, [0, 0, 0, 0.25, 1, 1]),
        ({"kd_warmup_fraction": 0.5}, [0, 0.58, 0.6, 0.8, 1, 1]),
    ],
)
def test_distillation_starts_when_it_is_told(settings, expected):
    schedule = kd_schedule(ObjectiveSpec(**settings), num_steps=100)
    np.testing.assert_allclose([schedule(jnp.int32(step)) for step in (0, 29, 30, 40, 70, 99)], expected, rtol=1e-6)


def test_the_step_number_scales_distillation_alone():
    spec = ObjectiveSpec(kd_weight=2.0, kd_kind="mse", kd_axis="channel", kd_start_fraction=0.5, kd_warmup_fraction=0.5)
    loss = jax.jit(TrainingLoss(TwoTokens(), spec, kd_schedule(spec, 8)))
    params = {"video": {"tokens": jnp.zeros((1, 2))}}
    rows = {step: loss(params, {}, BATCH, jax.random.key(0), jnp.int32(step))[1][0] for step in (0, 4, 6, 8)}
    # The squared distance is 0.01, its weight 2; both labels cost log 2.
    np.testing.assert_allclose([rows[step]["kd_to_video"] for step in rows], [0.01] * 4, rtol=1e-5)
    np.testing.assert_allclose([rows[step]["loss_kd"] for step in rows], [0, 0, 0.01, 0.02], rtol=1e-5)
    np.testing.assert_allclose([rows[step]["loss"] - rows[0]["loss"] for step in rows], [0, 0, 0.01, 0.02], atol=1e-6)
    np.testing.assert_allclose(rows[0]["loss"], np.log(2), rtol=1e-6)


def test_logits_teach_in_the_model_s_directions_and_only_where_both_see():
    rng = np.random.default_rng(0)
    video, skeleton = (jnp.asarray(rng.standard_normal((3, 4)), jnp.float32) for _ in range(2))
    seen = jnp.array([True, False, True])
    labels = jnp.asarray(rng.random((3, 4)) < 0.5, jnp.float32)
    logits = {"video": video, "skeleton": skeleton}
    spec = ObjectiveSpec(kd_logits_weight=3.0, kd_logits_tau=2.0)
    plain, _ = objective(ModelOutput(video, logits, {}, (), {"skeleton": seen}), labels, jnp.ones(3, bool), spec)
    to_video = logit_distillation_loss(skeleton[::2], video[::2], clip_valid=jnp.ones(2), tau=2.0)
    to_skeleton = logit_distillation_loss(video[::2], skeleton[::2], clip_valid=jnp.ones(2), tau=2.0)
    for learners, expected in ((("video",), to_video), (("video", "skeleton"), (to_video + to_skeleton) / 2)):
        output = ModelOutput(video, logits, {}, learners, {"skeleton": seen})
        total, terms = objective(output, labels, jnp.ones(3, bool), spec)
        np.testing.assert_allclose(total - plain, 3 * expected, rtol=1e-4)
        np.testing.assert_allclose(terms["loss_kd"], 3 * expected, rtol=1e-5)
        np.testing.assert_allclose(terms["kd_logits_to_video"], to_video, rtol=1e-5)


def test_parameters_of_a_loss_are_keys_of_the_configuration():
    config = default_config()
    config.loss.kind = "asymmetric"
    config.loss.parameters.asymmetric.gamma_negative = 2.0
    spec = resolve(config)
    assert spec.loss.classification_loss == Asymmetric(gamma_negative=2.0)
    assert resolve(to_config(spec)) == spec
    config.loss.parameters.asymmetric.margin = -0.1
    with pytest.raises(UserError, match=r"config\.loss\.parameters\.asymmetric\.margin"):
        resolve(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_kind": "l1"}, "config.loss.kd_kind: expected one of kl, cosine, mse, got 'l1'"),
        ({"kd_normalization": "batch"}, "config.loss.kd_normalization: expected one of none, layer, l2, got 'batch'"),
        ({"kd_start_fraction": 1.0}, r"config.loss.kd_start_fraction: expected a number in \[0, 1\), got 1.0"),
        ({"kd_start_fraction": 0.75, "kd_warmup_fraction": 0.5}, "add up to 1.25 of the run: a warm-up longer than"),
        ({"kd_logits_weight": -1.0}, "config.loss.kd_logits_weight must not be negative, got -1.0"),
        ({"kd_logits_tau": 0.0}, "config.loss.kd_logits_tau must be positive, got 0.0"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ObjectiveSpec(**settings)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"loss.kd_logits_weight": 1.0, "model.second_branch_weight": 0.0},
            "config.loss.kd_logits_weight: logits teach",
        ),
        ({"train.kd_gradient_every": 10, "loss.kd_weight": 0.0}, "config.train.kd_gradient_every: this configuration"),
        ({"train.kd_gradient_every": 10, "model.sites": "none"}, "config.train.kd_gradient_every: this configuration"),
    ],
)
def test_a_distillation_that_cannot_be_is_refused_at_the_start(keys, message):
    config = default_config()
    config.update_from_flattened_dict(keys)
    with pytest.raises(UserError, match=message):
        resolve(config)
