"""AdamW or SGD with a cosine schedule and warm-up, clipped by global norm; learning rates by part of the model.

Weight decay applies only to matrices and convolution kernels: biases, norm scales, class tokens, relative position
tables and learned adjacencies are left out, as in PySlowFast's `optimizer.py`. Parameters are chosen by name, not by
number of dimensions, since HD-GCN's biases and scales are stacked over its hierarchies.

SGD is PyTorch's, by which the baselines were published: Nesterov's momentum of gradients to which the decay is added,
times the learning rate.
"""

from __future__ import annotations

import math
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


ADAMW, SGD = "adamw", "sgd"


@dataclass(frozen=True)
class OptimizerSpec:
    """Settings of the optimizer.

    Attributes:
      name: `adamw` or `sgd`.
      learning_rate: The peak rate, reached at the end of the warm-up.
      warmup_fraction: Fraction of the steps in which the rate rises linearly, in [0, 1).
      initial_fraction: The first rate of the warm-up as a fraction of the peak rate.
      final_fraction: The last rate as a fraction of the peak rate.
      cosine_from_start: Whether the cosine has its peak at step 0 instead of at the end of the warm-up, which then ends
        on the cosine below the peak rate, as in PySlowFast.
      weight_decay: Of AdamW the decoupled one (Loshchilov and Hutter, 2019), of SGD the one of the gradient.
      decay_all: Whether it applies to all parameters, as by default in PyTorch, instead of to kernels alone.
      beta1: AdamW's decay of the first moment.
      beta2: AdamW's decay of the second moment.
      momentum: SGD's decay of the momentum.
      clip_norm: Global norm to which gradients are clipped; 0 for none.
      ema_decay: Decay of the moving average of the parameters; 0 for none.
      multipliers: Factors of the learning rate by part of the model: ((pattern, factor), ...), 0 to freeze
        (`multipliers.py`).
    """

    name: str = ADAMW
    learning_rate: float = 1e-4
    warmup_fraction: float = 0.1
    initial_fraction: float = 0.0
    final_fraction: float = 0.01
    cosine_from_start: bool = False
    weight_decay: float = 0.05
    decay_all: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    momentum: float = 0.9
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    multipliers: Multipliers = ()

    def __post_init__(self) -> None:
        if self.name not in (ADAMW, SGD):
            raise UserError(f"config.optimizer.name: expected {ADAMW} or {SGD}, got {self.name!r}")
        if self.learning_rate <= 0:
            raise UserError(f"config.optimizer.learning_rate must be positive, got {self.learning_rate}")
        if not 0 <= self.warmup_fraction < 1:
            raise UserError(
                f"config.optimizer.warmup_fraction: expected a fraction in [0, 1), got {self.warmup_fraction}: "
                "a warm-up longer than the run never ends"
            )
        for name in ("initial_fraction", "final_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"config.optimizer.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("beta1", "beta2", "momentum", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"config.optimizer.{name} must be in [0, 1), got {getattr(self, name)}")
        if self.clip_norm < 0 or self.weight_decay < 0:
            raise UserError("config.optimizer.clip_norm and weight_decay must not be negative")
        check_multipliers(self.multipliers)


def make_schedule(spec: OptimizerSpec, num_steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then a cosine to ``final_fraction`` of the peak rate."""
    warmup_steps, peak = int(spec.warmup_fraction * num_steps), spec.learning_rate
    if not spec.cosine_from_start:
        return optax.warmup_cosine_decay_schedule(
            init_value=spec.initial_fraction * peak if warmup_steps else peak,
            peak_value=peak,
            warmup_steps=warmup_steps,
            decay_steps=max(num_steps, warmup_steps + 1),
            end_value=peak * spec.final_fraction,
        )
    cosine = optax.cosine_decay_schedule(peak, num_steps, spec.final_fraction)
    there = 0.5 * (1 + math.cos(math.pi * warmup_steps / num_steps))
    where_it_meets = peak * (spec.final_fraction + (1 - spec.final_fraction) * there)
    warmup = optax.linear_schedule(spec.initial_fraction * peak, where_it_meets, warmup_steps)
    return optax.join_schedules([warmup, lambda step: cosine(step + warmup_steps)], [warmup_steps])


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


def _at_rate_1(spec: OptimizerSpec) -> optax.GradientTransformation:
    """The update rule at a learning rate of 1."""
    mask = None if spec.decay_all else decay_mask
    if spec.name == ADAMW:
        return optax.adamw(1.0, spec.beta1, spec.beta2, weight_decay=spec.weight_decay, mask=mask)
    decay = optax.add_decayed_weights(spec.weight_decay, mask)
    return optax.chain(decay, optax.sgd(1.0, spec.momentum, nesterov=True))


def make_optimizer(spec: OptimizerSpec, frozen: tuple[str, ...] = ()) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of a run.

    Its `update` takes the gradient's global norm as ``norm`` and the rate of `make_schedule` as ``learning_rate``, both
    () float32. Parameters under the ``frozen`` top-level names, and those whose multiplier is 0, are not trained and
    have no optimizer state. `init` raises UserError if a multiplier's pattern takes no parameter.
    """
    clip = [clip_by_norm(spec.clip_norm)] if spec.clip_norm else []
    by_part = [_scale_by_part(spec.multipliers)] if spec.multipliers else []
    # The schedule's rate comes last; the updates of rate 1 point downhill already.
    optimizer = optax.chain(*clip, _at_rate_1(spec), *by_part, _scale_by(lambda *, learning_rate, **_: learning_rate))
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
