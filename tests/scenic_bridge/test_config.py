"""Our configurations as Scenic's, without Scenic."""

import dataclasses

import ml_collections
import numpy as np
import optax
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.config_files import named_config
from musclemap_jax.models.transm3e import RELEASED
from musclemap_jax.scenic_bridge.config import experiment_spec, scenic_config
from musclemap_jax.train.optimizer import make_schedule


@pytest.mark.parametrize("name", ["transm3e", "hdgcn", "mvitv2_s"])
@pytest.mark.parametrize("variant", ["", "synthetic", "smoke"])
def test_the_experiment_survives_the_translation(name, variant):
    config = named_config(f"scenic/{name}:{variant}")
    ours, back = resolve(named_config(f"{name}:{variant}")), experiment_spec(config)
    assert back.train.num_steps == {"": 10_000, "synthetic": 1519, "smoke": 5}[variant]
    assert back.train.batch_size == ours.train.batch_size
    assert back.optimizer.warmup_fraction == pytest.approx(ours.optimizer.warmup_fraction, abs=1 / back.train.num_steps)
    # What Scenic counts in steps, and what it does not have.
    of_ours = {name: getattr(ours.optimizer, name) for name in ("warmup_fraction", "ema_decay")}
    assert dataclasses.replace(back.optimizer, **of_ours) == ours.optimizer
    for section in ("data", "input", "model", "loss", "eval", "init_from"):
        assert getattr(back, section) == getattr(ours, section)
    assert set(config.dataset_configs.experiment) == {"seed", "data", "input", "model", "init_from", "loss", "eval"}


def test_the_schedule_is_scenics_formula_of_ours():
    """By hand: linear from 0 over the warm-up, then a cosine from the peak to the final fraction of it."""
    spec = resolve(named_config("transm3e:synthetic")).optimizer
    config = scenic_config("transm3e:synthetic", 20)
    lr, ours = config.lr_configs, make_schedule(spec, 20)
    assert (lr.warmup_steps, lr.steps_per_cycle, lr.alpha) == (2, 20, spec.final_fraction)
    for step in range(20):
        warm = min(1.0, step / lr.warmup_steps)
        cosine = 0.5 * (1 + np.cos(np.pi * max(step - lr.warmup_steps, 0) / (20 - lr.warmup_steps)))
        rate = lr.base_learning_rate * warm * ((1 - lr.alpha) * cosine + lr.alpha)
        assert float(ours(step)) == pytest.approx(rate, rel=1e-5)


def test_an_optimizer_that_has_no_translation_is_refused():
    with pytest.raises(
        UserError,
        match=r"^scenic_config\('stgcn'\): config.optimizer.name='sgd' is not translated for Scenic's trainer: "
        r"set it to 'adamw', or train by musclemap_jax.main$",
    ):
        scenic_config("stgcn", 10)


def test_the_decay_mask_and_a_frozen_branch_are_translated():
    config = scenic_config("transm3e_rgbdiff:smoke")
    params = {"video": {"norm": {"scale": np.ones(2)}, "fc1": {"kernel": np.ones((2, 2))}}}
    assert config.optimizer_configs.mask(params) == {"video": {"norm": {"scale": False}, "fc1": {"kernel": True}}}
    assert RELEASED["branches"][1] == "rgb_diff"
    assert config.optimizer_configs.freeze_params_reg_exp == "^(rgb_diff)/"
    assert hasattr(optax, config.optimizer_configs.optimizer)


def test_a_length_in_epochs_needs_a_number_of_steps():
    with pytest.raises(UserError, match=r"^scenic_config\('transm3e:'\): its length is in epochs: pass num_steps$"):
        scenic_config("transm3e:")


def test_a_configuration_of_ours_is_not_one_for_scenic():
    for config in (named_config("hdgcn:smoke"), ml_collections.ConfigDict()):
        with pytest.raises(UserError, match=r"^--config: expected a configuration for Scenic with .*configs/scenic/"):
            experiment_spec(config)
