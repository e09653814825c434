"""The training objective: classification of the prediction and of each branch, and distillation at the sites.

    L = L_cls(fused) + branch_weight * sum_branches L_cls(branch) + kd_weight * mean over sites of L_site

The released code is kind ``softmax_bce``, branch_weight 0, kd_weight 0.9, kd_reduction ``released``, one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from musclemap_jax.errors import UserError
from musclemap_jax.models.distillation import distillation_loss
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.train.losses import LOSSES


@dataclass(frozen=True)
class ObjectiveSpec:
    """Settings of the objective.

    Attributes:
      kind: classification loss, a name in ``losses.LOSSES``.
      branch_weight: weight of the sum of the branches' own classification losses.
      kd_weight: weight of the mean distillation loss over sites and directions; 0 switches distillation off.
      kd_tau: temperature of the distillation.
      kd_axis: ``token`` (as in the released code) or ``channel``: the axis over which the softmax runs.
      kd_reduction: ``sum`` over that axis, or ``released``, the mean over every element.
    """

    kind: str = "sigmoid_bce"
    branch_weight: float = 0.5
    kd_weight: float = 0.9
    kd_tau: float = 10.0
    kd_axis: str = "token"
    kd_reduction: str = "sum"

    def __post_init__(self) -> None:
        if self.kind not in LOSSES:
            raise UserError(f"config.loss.kind: expected one of {', '.join(LOSSES)}, got {self.kind!r}")
        if self.kd_axis not in ("token", "channel"):
            raise UserError(f"config.loss.kd_axis: expected 'token' or 'channel', got {self.kd_axis!r}")
        if self.kd_reduction not in ("sum", "released"):
            raise UserError(f"config.loss.kd_reduction: expected 'sum' or 'released', got {self.kd_reduction!r}")
        if self.kd_tau <= 0 or self.kd_weight < 0 or self.branch_weight < 0:
            raise UserError("config.loss: kd_tau must be positive, kd_weight and branch_weight not negative")


def objective(
    output: ModelOutput, muscles: jax.Array, clip_valid: jax.Array, spec: ObjectiveSpec
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss and its terms.

    Args:
      output: of the model.
      muscles: (B, K) float32, 1 where a muscle region is active.
      clip_valid: (B,) bool, False for padding.
      spec: the settings.

    Returns:
      () float32 loss, and {term: () float32}: ``loss``, ``loss_fused``, ``loss_<branch>``, ``kd_<direction>`` and
      ``kd_<direction>/<site>``.
    """
    classify = LOSSES[spec.kind]
    terms = {"loss_fused": classify(output.logits, muscles, clip_valid)}
    total = terms["loss_fused"]
    if len(output.branch_logits) > 1:
        for branch, logits in output.branch_logits.items():
            terms[f"loss_{branch}"] = classify(logits, muscles, clip_valid)
            total += spec.branch_weight * terms[f"loss_{branch}"]
    if output.sites and spec.kd_weight:
        by_direction: dict[str, list[jax.Array]] = {}
        for name, site in output.sites.items():
            value = distillation_loss(
                site.sender,
                site.receiver,
                clip_valid=clip_valid,
                tau=spec.kd_tau,
                axis=spec.kd_axis,
                reduction=spec.kd_reduction,
            )
            terms[f"kd_{name}"] = value
            by_direction.setdefault(name.split("/")[0], []).append(value)
        for direction, values in by_direction.items():
            terms[f"kd_{direction}"] = jnp.mean(jnp.stack(values))
        every_site = [value for values in by_direction.values() for value in values]
        total += spec.kd_weight * jnp.mean(jnp.stack(every_site))
    return total, {"loss": total, **terms}
