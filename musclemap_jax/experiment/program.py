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
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.train.mixing import mixed_step
from musclemap_jax.train.optimizer import make_optimizer, make_schedule
from musclemap_jax.train.step import StepFunction, make_train_step


@dataclasses.dataclass(frozen=True)
class TrainProgram:
    """The parts of a run that are compiled.

    Attributes:
      model: The model, called as ``model(batch, train)``.
      optimizer: The gradient transformation.
      step: The training step, not compiled.
    """

    model: TransM3E
    optimizer: optax.GradientTransformation
    step: StepFunction


def make_program(spec: ExperimentSpec, num_steps: int) -> TrainProgram:
    """Builds the program of a run.

    Args:
      spec: The result of `config.resolve`.
      num_steps: Length of the run, for the schedule.
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
    if spec.train.mixing.is_on:
        step = mixed_step(step, spec.train.mixing, spec.input.crop_size, spec.model.branches, spec.model.modalities)
    return TrainProgram(model, optimizer, step)


def batch_shapes(spec: InputSpec, batch_size: int, num_views: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch; a training batch has one view per clip."""
    clip = cast(Mapping[str, Any], empty_batch(spec, 1, num_views=num_views))
    return {name: jax.ShapeDtypeStruct((batch_size, *value.shape[1:]), value.dtype) for name, value in clip.items()}
