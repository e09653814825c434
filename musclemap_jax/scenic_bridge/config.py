"""A configuration of ours as one of Scenic's, and what a Scenic run is in ours.

Scenic's configuration states how the model is trained: batch size, steps, optimizer, schedule. Data, input, model, loss
and first weights stand in `dataset_configs.experiment`, with the keys of `experiment/config.py`; its other sections are
left out there, so that each setting stands once. Translated are AdamW, its decay mask, the warm-up with cosine and the
clipping by global norm, all to the same numbers; other settings of the optimizer are refused. Scenic has no moving
average of parameters, gradient accumulation or mesh.
"""

from __future__ import annotations

import copy
import dataclasses

import ml_collections

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.config_files import named_config
from musclemap_jax.train.loop import TrainSpec
from musclemap_jax.train.optimizer import OptimizerSpec, decay_mask

DATASET = "musclemap"
"""Name of the data set in Scenic's registry."""

MODEL = "musclemap_multilabel_classification"
"""Value of `model_name` for our model: whichever branches the experiment has."""

EVERYTHING, VIDEO = "everything", "video"
"""Values of `dataset_configs.inputs`: all arrays of the model by name, or frames alone for Scenic's video models."""

_SCENICS = ("optimizer", "train", "mesh")
"""Sections of ours whose place Scenic's own keys take."""


_TRANSLATED = ("learning_rate", "warmup_fraction", "final_fraction", "weight_decay", "beta1", "beta2", "clip_norm")
_TRANSLATED += ("ema_decay", "momentum")
"""Settings of the optimizer that Scenic has too; Scenic's runs have no moving average, and AdamW no such momentum."""


def scenic_config(source: str, num_steps: int = 0) -> ml_collections.ConfigDict:
    """Translates a configuration of ours for Scenic's `classification_trainer`.

    Args:
      source: Its file or name, with a variant behind a colon: `transm3e:smoke`.
      num_steps: Length of the run; by default `train.num_steps`.

    Raises:
      UserError: There is no such configuration, its length is in epochs and `num_steps` is not given, or a setting of
        its optimizer has no translation.
    """
    ours = named_config(source)
    spec = resolve(ours)
    _check_translated(source, spec.optimizer)
    num_steps = num_steps or spec.train.num_steps
    if not num_steps:
        raise UserError(f"scenic_config({source!r}): its length is in epochs: pass num_steps")
    experiment = copy.deepcopy(ours)
    with experiment.unlocked():
        for section in _SCENICS:
            del experiment[section]
    config = ml_collections.ConfigDict(
        {
            "experiment_name": source,
            "rng_seed": spec.seed,
            "dataset_name": DATASET,
            "data_dtype_str": "float32",
            "dataset_configs": {"inputs": EVERYTHING},
            "model_name": MODEL,
            "trainer_name": "classification_trainer",
            "batch_size": spec.train.batch_size,
            "eval_batch_size": spec.eval.batch_size,
            "num_training_steps": num_steps,
            "max_grad_norm": spec.optimizer.clip_norm or None,
            "log_summary_steps": max(2, spec.train.log_every),  # Scenic logs after step 1 of every so many, so not of 1
            "log_eval_steps": spec.train.eval_every or num_steps,
            "checkpoint_steps": spec.train.checkpoint_every,
            "max_checkpoint_keep": spec.train.keep_checkpoints,
            "checkpoint": True,
            "write_summary": True,
            "count_flops": False,
            "debug_train": False,
            "debug_eval": False,
            "xprof": False,
        }
    )
    config.dataset_configs.experiment = experiment
    config.lr_configs = _schedule(spec.optimizer, num_steps)
    config.optimizer_configs = _optimizer(spec.optimizer, spec.model.frozen_branches)
    return config


def _check_translated(source: str, spec: OptimizerSpec) -> None:
    """Refuses settings of the optimizer that would be lost."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name not in _TRANSLATED and value != field.default:
            raise UserError(
                f"scenic_config({source!r}): config.optimizer.{field.name}={value!r} is not translated for Scenic's "
                f"trainer: set it to {field.default!r}, or train by musclemap_jax.main"
            )


def _schedule(spec: OptimizerSpec, num_steps: int) -> dict[str, object]:
    return {
        "learning_rate_schedule": "compound",
        "factors": "constant * linear_warmup * cosine_decay",
        "base_learning_rate": spec.learning_rate,
        "warmup_steps": int(spec.warmup_fraction * num_steps),
        "steps_per_cycle": num_steps,
        "total_steps": num_steps,
        "alpha": spec.final_fraction,
    }


def _optimizer(spec: OptimizerSpec, frozen: tuple[str, ...]) -> dict[str, object]:
    return {
        "optimizer": "adamw",
        "b1": spec.beta1,
        "b2": spec.beta2,
        "weight_decay": spec.weight_decay,
        "mask": decay_mask,
        "freeze_params_reg_exp": f"^({'|'.join(frozen)})/" if frozen else None,
    }


def experiment_spec(config: ml_collections.ConfigDict) -> ExperimentSpec:
    """What a Scenic configuration says of the experiment, as far as ours has a place for it.

    Raises:
      UserError: It is not one of `scenic_config`, or a value is invalid.
    """
    experiment = config.get("dataset_configs", {}).get("experiment")
    if experiment is None or not config.get("num_training_steps"):
        raise UserError(
            "--config: expected a configuration for Scenic with dataset_configs.experiment and num_training_steps, "
            "such as configs/scenic/transm3e.py"
        )
    spec = resolve(experiment)
    steps, schedule, optimizer = config.num_training_steps, config.lr_configs, config.get("optimizer_configs", {})
    return dataclasses.replace(
        spec,
        seed=config.rng_seed,
        eval=dataclasses.replace(spec.eval, batch_size=config.get("eval_batch_size", config.batch_size)),
        train=TrainSpec(batch_size=config.batch_size, num_steps=steps),
        optimizer=OptimizerSpec(
            learning_rate=schedule.base_learning_rate,
            warmup_fraction=schedule.get("warmup_steps", 0) / steps,
            final_fraction=schedule.get("alpha", 0.0),
            weight_decay=optimizer.get("weight_decay", 0.0),
            beta1=optimizer.get("b1", 0.9),
            beta2=optimizer.get("b2", 0.999),
            clip_norm=config.get("max_grad_norm") or 0.0,
        ),
    )
