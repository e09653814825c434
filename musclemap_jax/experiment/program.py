"""What a run compiles, from its configuration alone: model, optimizer and training step, and the shapes of a batch.

Training and the compile-ahead report (`compile_ahead/`) share it, so the report is on exactly the step that runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import optax

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.train.kd_gradient import KdGradient, make_kd_gradient
from musclemap_jax.train.label_weights import LabelCounts, label_weights
from musclemap_jax.train.mixing import on_mixed_batch
from musclemap_jax.train.multipliers import frozen_parts
from musclemap_jax.train.objective import kd_schedule
from musclemap_jax.train.optimizer import make_optimizer, make_schedule
from musclemap_jax.train.step import StepFunction, make_train_step
from musclemap_jax.train.training_loss import TrainingLoss


@dataclasses.dataclass(frozen=True)
class TrainProgram:
    """The parts of a run that are compiled.

    Attributes:
      model: The model, called as ``model(batch, train)``.
      optimizer: The gradient transformation.
      step: The training step, not compiled.
      kd_gradient: Distillation's fraction of the gradient, not compiled; None where it is not measured.
    """

    model: TransM3E
    optimizer: optax.GradientTransformation
    step: StepFunction
    kd_gradient: KdGradient | None = None


def make_program(spec: ExperimentSpec, num_steps: int, counts: LabelCounts | None = None) -> TrainProgram:
    """Builds the program of a run.

    Args:
      spec: The result of `config.resolve`.
      num_steps: Length of the run, for the schedules.
      counts: Counts of the training labels, which `config.loss.balance` needs; None where only shapes matter.

    Raises:
      UserError: There are too many or too few `config.loss.positive_weights`.
    """
    model = TransM3E(spec.model)
    parts = spec.train.grad_accum_steps
    counts = counts or LabelCounts(2, (1,) * spec.model.num_regions)
    try:
        weights = label_weights(spec.loss.balance, spec.loss.balance_beta, spec.loss.positive_weights, counts)
    except ValueError as error:
        raise UserError(f"config.loss.positive_weights: {error}") from error
    frozen = spec.model.frozen_branches
    multipliers = (*frozen_parts(frozen), *spec.optimizer.multipliers)
    loss = TrainingLoss(model, spec.loss, kd_schedule(spec.loss, num_steps), weights, multipliers)
    optimizer = make_optimizer(spec.optimizer, frozen)
    schedule = make_schedule(spec.optimizer, num_steps)
    step = make_train_step(loss, optimizer, schedule, spec.optimizer.ema_decay, parts)
    kd_gradient = make_kd_gradient(loss, spec.model.branches, parts) if spec.train.kd_gradient_every else None
    if (mixing := spec.train.mixing).is_on:
        settings = mixing, spec.input.crop_size, spec.model.branches, spec.model.modalities
        step = on_mixed_batch(step, *settings)
        kd_gradient = kd_gradient and on_mixed_batch(kd_gradient, *settings)
    return TrainProgram(model, optimizer, step, kd_gradient)


def batch_shapes(spec: InputSpec, batch_size: int, num_views: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch; a training batch has one view per clip."""
    clip = cast(Mapping[str, Any], empty_batch(spec, 1, num_views=num_views))
    return {name: jax.ShapeDtypeStruct((batch_size, *value.shape[1:]), value.dtype) for name, value in clip.items()}
