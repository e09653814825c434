"""AdamW with a cosine schedule and warm-up, clipped by global norm; learning rates by part of the model.

Weight decay applies only to matrices and convolution kernels: biases, norm scales, class tokens, relative position
tables and learned adjacencies are left out, as in PySlowFast's `optimizer.py`. Parameters are chosen by name, not by
number of dimensions, since HD-GCN's biases and scales are stacked over its hierarchies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from musclemap_jax.errors import UserError
from musclemap_jax.sharding.rules import path_name
from musclemap_jax.train.multipliers import (
    Multipliers,
    check_multipliers,
    check_patterns,
    factor_of,
    frozen_parts,
    map_factors,
)

DECAYED_NAME = re.compile(r"(^|_)kernel$|^pool_[qkv]$|^spread$")
"""Parameters with weight decay; searched in the last name of their paths."""


@dataclass(frozen=True)
class OptimizerSpec:
    """Settings of the optimizer.

    Attributes:
      learning_rate: The peak rate, reached at the end of the warm-up.
      warmup_fraction: Fraction of the steps in which the rate rises linearly from zero, in [0, 1).
      final_fraction: The last rate as a fraction of the peak rate.
      weight_decay: Decoupled weight decay (Loshchilov and Hutter, 2019).
      beta1: Decay of the first moment.
      beta2: Decay of the second moment.
      clip_norm: Global norm to which gradients are clipped; 0 for none.
      ema_decay: Decay of the moving average of the parameters; 0 for none.
      multipliers: Factors of the learning rate by part of the model: ((pattern, factor), ...), 0 to freeze
        (`multipliers.py`).
    """

    learning_rate: float = 1e-4
    warmup_fraction: float = 0.1
    final_fraction: float = 0.01
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    multipliers: Multipliers = ()

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise UserError(f"config.optimizer.learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.warmup_fraction < 1:
            raise UserError(
                f"config.optimizer.warmup_fraction: expected a fraction in [0, 1), got {self.warmup_fraction}: "
                "a warm-up longer than the run never ends"
            )
        for name in ("final_fraction", "beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1 or (name != "final_fraction" and getattr(self, name) == 1):
                raise UserError(f"config.optimizer.{name} must be in [0, 1), got {getattr(self, name)}")
        if self.clip_norm < 0 or self.weight_decay < 0:
            raise UserError("config.optimizer.clip_norm and weight_decay must not be negative")
        check_multipliers(self.multipliers)


def make_schedule(spec: OptimizerSpec, num_steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then a cosine to ``final_fraction`` of the peak rate."""
    warmup_steps = int(spec.warmup_fraction * num_steps)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup_steps else spec.learning_rate,
        peak_value=spec.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(num_steps, warmup_steps + 1),
        end_value=spec.learning_rate * spec.final_fraction,
    )


def decay_mask(params: Any) -> Any:
    """True at the parameters with weight decay."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: bool(DECAYED_NAME.search(path_name(path).rpartition("/")[2])), params
    )


def _scale_by(factor: Callable[..., jax.Array]) -> optax.GradientTransformationExtraArgs:
    """Scales updates by a function of the extra arguments of `update`."""

    def update(updates: Any, state: optax.EmptyState, params: Any = None, **given: Any) -> Any:
        del params
        scale = factor(**given)
        return jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), cast(Any, update))


def clip_by_norm(max_norm: float) -> optax.GradientTransformationExtraArgs:
    """`optax.clip_by_global_norm` for callers that know the norm, which `update` takes as ``norm``."""
    return _scale_by(lambda *, norm, **_: max_norm / jnp.maximum(norm, max_norm))


def _scale_by_part(multipliers: Multipliers) -> optax.GradientTransformation:
    """Scales updates by the factors of their parts."""

    def update(updates: Any, params: Any = None) -> Any:
        del params
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf * factor_of(path_name(path), multipliers), updates
        )

    return optax.stateless(update)


def make_optimizer(spec: OptimizerSpec, frozen: tuple[str, ...] = ()) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of a run.

    Its `update` takes the gradient's global norm as ``norm`` and the rate of `make_schedule` as ``learning_rate``, both
    () float32. Parameters under the ``frozen`` top-level names, and those whose multiplier is 0, are not trained and
    have no optimizer state. `init` raises UserError if a multiplier's pattern takes no parameter.
    """
    clip = [clip_by_norm(spec.clip_norm)] if spec.clip_norm else []
    # The schedule's rate comes last; the updates of rate 1 point downhill already.
    adamw = optax.adamw(1.0, spec.beta1, spec.beta2, weight_decay=spec.weight_decay, mask=decay_mask)
    by_part = [_scale_by_part(spec.multipliers)] if spec.multipliers else []
    optimizer = optax.chain(*clip, adamw, *by_part, _scale_by(lambda *, learning_rate, **_: learning_rate))
    multipliers = (*frozen_parts(frozen), *spec.multipliers)
    if not any(factor == 0 for _, factor in multipliers):
        labelled = optimizer
    else:
        labelled = optax.partition(
            {"trained": optimizer, "frozen": optax.set_to_zero()},
            lambda params: map_factors(lambda factor: "trained" if factor else "frozen", params, multipliers),
        )

    def init(params: Any) -> optax.OptState:
        check_patterns(params, spec.multipliers)
        return labelled.init(params)

    return optax.GradientTransformationExtraArgs(init, labelled.update)
