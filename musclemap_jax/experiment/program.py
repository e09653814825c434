"""What a run compiles, from its configuration alone: model, optimizer and training step, and the batch they take.

Training and the compile-ahead report (`compile_ahead/`) share it: the report is of the very step that runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import optax

from musclemap_jax.data.batch import InputSpec, empty_batch
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.train.optimizer import make_optimizer, make_schedule
from musclemap_jax.train.step import StepFunction, make_train_step


@dataclasses.dataclass(frozen=True)
class TrainProgram:
    """The parts of a run that are compiled.

    Attributes:
      model: called as ``model(batch, train)``.
      optimizer: its gradient transformation.
      step: the training step, not compiled.
    """

    model: TransM3E
    optimizer: optax.GradientTransformation
    step: StepFunction


def make_program(spec: ExperimentSpec, num_steps: int) -> TrainProgram:
    """Builds them.

    Args:
      spec: of `config.resolve`.
      num_steps: length of the run, for the schedule.
    """
    model = TransM3E(spec.model)
    optimizer = make_optimizer(spec.optimizer, spec.model.frozen_branches)
    step = make_train_step(
        model,
        optimizer,
        make_schedule(spec.optimizer, num_steps),
        spec.loss,
        spec.optimizer.ema_decay,
        spec.train.grad_accum_steps,
    )
    return TrainProgram(model, optimizer, step)


def batch_shapes(spec: InputSpec, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a training batch of so many clips; training has one view."""
    clip = cast(Mapping[str, Any], empty_batch(spec, 1))
    return {name: jax.ShapeDtypeStruct((batch_size, *value.shape[1:]), value.dtype) for name, value in clip.items()}
