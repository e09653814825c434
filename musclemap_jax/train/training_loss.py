"""The loss of a run as a function of its parameters: the model in training, and the objective on what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from musclemap_jax.train.label_weights import LabelWeights
from musclemap_jax.train.multipliers import Multipliers, frozen_modules, map_factors, modules_in_evaluation
from musclemap_jax.train.objective import Factor, ObjectiveSpec, objective

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, eq=False)  # a function: jax.jit wants its hash
class TrainingLoss:
    """The loss of a run.

    Attributes:
      model: The model, called as ``model(batch, train)``; returns a ModelOutput.
      spec: Settings of the objective.
      kd_factor: Factor of the distillation's weights by step (`objective.kd_schedule`).
      label_weights: Weights of the labels; None for 1.
      multipliers: Factors of the learning rate; parameters whose factor is 0 get no gradient, and their modules run as
        in evaluation.
    """

    model: nn.Module
    spec: ObjectiveSpec = dataclasses.field(default_factory=ObjectiveSpec)
    kd_factor: Callable[[jax.Array], Factor] = lambda step: 1.0
    label_weights: LabelWeights | None = None
    multipliers: Multipliers = ()

    def __call__(
        self, params: Any, batch_stats: Any, batch: Batch, key: jax.Array, step: jax.Array
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        """Computes the loss of a batch in step number `step`, counted from 0; `key` is that of its dropout.

        Returns:
          () float32 loss; the objective's terms and the new batch statistics.
        """
        frozen = frozen_modules(params, self.multipliers) if self.multipliers else frozenset()
        if self.multipliers:
            params = map_factors(
                lambda factor, leaf: leaf if factor else jax.lax.stop_gradient(leaf), params, self.multipliers, params
            )
        with modules_in_evaluation(frozen):
            output, changed = self.model.apply(
                {"params": params, "batch_stats": batch_stats},
                batch,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
        loss, terms = objective(
            output, batch["muscles"], batch["clip_valid"], self.spec, self.label_weights, self.kd_factor(step)
        )
        return loss, (terms, changed.get("batch_stats", {}))
