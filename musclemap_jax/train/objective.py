"""The training objective: classification of the prediction and of each branch, and distillation at the sites.

    L = L_cls(fused) + branch_weight * sum_branches L_cls(branch) + kd_weight * mean over sites of L_site

A branch's own terms are means over the clips in which it sees something.

The released code is kind `softmax_bce`, branch_weight 0, kd_weight 0.9, kd_reduction `released`, one direction.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from musclemap_jax.errors import UserError
from musclemap_jax.models.distillation import AXES, REDUCTIONS, distillation_loss
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.train.losses import LOSSES, ClipValid, Labels, Loss


@dataclass(frozen=True)
class ObjectiveSpec:
    """Settings of the objective.

    Attributes:
      kind: Classification loss, a name in `losses.LOSSES`.
      branch_weight: Weight of the sum of the branches' own classification losses.
      kd_weight: Weight of the mean distillation loss over sites and directions; 0 switches distillation off.
      kd_tau: Temperature of the distillation.
      kd_axis: Axis of the distillation's softmax, `token` (as in the released code) or `channel`.
      kd_reduction: `sum` over that axis, or `released`, the mean over every element.
    """

    kind: str = "sigmoid_bce"
    branch_weight: float = 0.5
    kd_weight: float = 0.9
    kd_tau: float = 10.0
    kd_axis: str = "token"
    kd_reduction: str = "sum"

    def __post_init__(self) -> None:
        for name, known in (("kind", LOSSES), ("kd_axis", AXES), ("kd_reduction", REDUCTIONS)):
            if getattr(self, name) not in known:
                raise UserError(f"config.loss.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.kd_tau <= 0 or self.kd_weight < 0 or self.branch_weight < 0:
            raise UserError("config.loss: kd_tau must be positive, kd_weight and branch_weight not negative")


def objective(
    output: ModelOutput, muscles: Labels, clip_valid: ClipValid, spec: ObjectiveSpec
) -> tuple[Loss, dict[str, Loss]]:
    """Computes the total loss and its terms from labels in [0, 1]; clip_valid is False for padding.

    Returns:
      Float32 loss, and the terms by name: `loss`, `loss_fused`, `loss_<branch>`, `kd_<direction>` and
      `kd_<direction>/<site>`.
    """
    classify = LOSSES[spec.kind]
    terms = {"loss_fused": classify(output.logits, muscles, clip_valid)}
    total = terms["loss_fused"]
    if len(output.branch_logits) > 1:
        for branch, logits in output.branch_logits.items():
            seen = output.present.get(branch)
            terms[f"loss_{branch}"] = classify(logits, muscles, _and_valid(clip_valid, seen))
            total += spec.branch_weight * terms[f"loss_{branch}"]
    if output.sites and spec.kd_weight:
        by_direction: dict[str, list[jax.Array]] = {}
        for name, site in output.sites.items():
            value = distillation_loss(
                site.sender,
                site.receiver,
                clip_valid=_and_valid(clip_valid, site.valid),
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


def _and_valid(clip_valid: ClipValid, valid: jax.Array | None) -> ClipValid:
    """The valid clips for which a second mask holds too, where there is one."""
    return clip_valid if valid is None else clip_valid * valid
