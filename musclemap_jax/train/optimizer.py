"""AdamW with a cosine schedule and warm-up, clipped by global norm.

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
    """

    learning_rate: float = 1e-4
    warmup_fraction: float = 0.1
    final_fraction: float = 0.01
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float = 1.0
    ema_decay: float = 0.0

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


def make_optimizer(spec: OptimizerSpec, frozen: tuple[str, ...] = ()) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of a run.

    Its `update` takes the gradient's global norm as ``norm`` and the rate of `make_schedule` as ``learning_rate``, both
    () float32. Parameters under the ``frozen`` top-level names are not trained and have no optimizer state.
    """
    clip = [clip_by_norm(spec.clip_norm)] if spec.clip_norm else []
    # The schedule's rate comes last; the updates of rate 1 point downhill already.
    adamw = optax.adamw(1.0, spec.beta1, spec.beta2, weight_decay=spec.weight_decay, mask=decay_mask)
    optimizer = optax.chain(*clip, adamw, _scale_by(lambda *, learning_rate, **_: learning_rate))
    if not frozen:
        return optimizer
    return optax.partition(
        {"trained": optimizer, "frozen": optax.set_to_zero()},
        lambda params: {
            name: jax.tree.map(lambda _, label="frozen" if name in frozen else "trained": label, part)
            for name, part in params.items()
        },
    )
