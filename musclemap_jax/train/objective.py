"""The training objective: classification of the prediction and of each branch, and distillation.

    L = L_cls(fused) + branch_weight * sum_branches L_cls(branch)
      + r(step) * (kd_weight * mean over sites of L_site + kd_logits_weight * mean over directions of L_logits)

A branch's own terms are means over the clips in which it sees something. r is 1 unless the configuration lets the
distillation start later (`kd_schedule`).

The released code is kind `softmax_bce`, branch_weight 0, kd_weight 0.9, kd_reduction `released`, one direction.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from musclemap_jax.errors import UserError
from musclemap_jax.models.distillation import (
    AXES,
    KINDS,
    NORMALIZATIONS,
    REDUCTIONS,
    distillation_loss,
    logit_distillation_loss,
)
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.train.label_weights import BALANCES, LabelWeights
from musclemap_jax.train.losses import LOSSES, ClipValid, Labels, Loss, MultiLabelLoss, link_of

Factor = float | jax.Array
Terms = dict[str, Loss]


def _default_parameters() -> dict[str, Any]:
    return {name: loss for name, loss in LOSSES.items() if dataclasses.is_dataclass(loss)}


@dataclass(frozen=True)
class ObjectiveSpec:
    """Settings of the objective.

    Attributes:
      kind: Classification loss, a name in `losses.LOSSES`.
      parameters: Parameters of the losses that have some, by name.
      balance: Weights of labels from the training split (`label_weights.py`): `none`, `positives` or `class_balanced`.
      balance_beta: beta of `class_balanced`, in [0, 1).
      positive_weights: Factors of positive labels: one for each region, or one for all; empty for 1.
      branch_weight: Weight of the sum of the branches' own classification losses.
      kd_weight: Weight of the mean distillation loss over sites and directions; 0 switches it off.
      kd_kind: Distance of the tokens: `kl`, `cosine` or `mse` (`models/distillation.py`).
      kd_tau: Temperature of `kl`.
      kd_axis: Axis of the distillation's softmax, `token` (as in the released code) or `channel`.
      kd_normalization: What is done to each token before it is compared: `none`, `layer` or `l2`.
      kd_reduction: `sum` over that axis, or `released`, the mean over every element.
      kd_logits_weight: Weight of the mean distillation loss of the branches' logits over directions.
      kd_logits_tau: Temperature of the logits.
      kd_start_fraction: Fraction of the run before which nothing is distilled, in [0, 1).
      kd_warmup_fraction: Fraction of the run, from there on, in which distillation's weights rise linearly from 0.
    """

    kind: str = "sigmoid_bce"
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=_default_parameters)
    balance: str = "none"
    balance_beta: float = 0.999
    positive_weights: tuple[float, ...] = ()
    branch_weight: float = 0.5
    kd_weight: float = 0.9
    kd_kind: str = "kl"
    kd_tau: float = 10.0
    kd_axis: str = "token"
    kd_normalization: str = "none"
    kd_reduction: str = "sum"
    kd_logits_weight: float = 0.0
    kd_logits_tau: float = 1.0
    kd_start_fraction: float = 0.0
    kd_warmup_fraction: float = 0.0

    def __post_init__(self) -> None:
        choices = {
            "kind": LOSSES,
            "balance": BALANCES,
            "kd_kind": KINDS,
            "kd_axis": AXES,
            "kd_normalization": NORMALIZATIONS,
            "kd_reduction": REDUCTIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"config.loss.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("kd_tau", "kd_logits_tau"):
            if getattr(self, name) <= 0:
                raise UserError(f"config.loss.{name} must be positive, got {getattr(self, name)}")
        for name in ("branch_weight", "kd_weight", "kd_logits_weight"):
            if getattr(self, name) < 0:
                raise UserError(f"config.loss.{name} must not be negative, got {getattr(self, name)}")
        for name in ("balance_beta", "kd_start_fraction", "kd_warmup_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"config.loss.{name}: expected a number in [0, 1), got {getattr(self, name)}")
        if (end := self.kd_start_fraction + self.kd_warmup_fraction) > 1:
            raise UserError(
                f"config.loss: kd_start_fraction and kd_warmup_fraction add up to {end:g} of the run: a warm-up longer "
                "than the run never ends"
            )
        if min(self.positive_weights, default=1) <= 0:
            raise UserError(f"config.loss.positive_weights must be positive, got {self.positive_weights}")
        weighted = self.balance != "none" or self.positive_weights
        if weighted and "weights" not in inspect.signature(self.classification_loss).parameters:
            raise UserError(
                f"config.loss.kind: {self.kind!r} does not take weights of labels: let it take `weights`, or leave "
                "config.loss.balance and positive_weights at their defaults"
            )

    @property
    def classification_loss(self) -> MultiLabelLoss:
        """The loss of `kind`, with its parameters."""
        return self.parameters.get(self.kind, LOSSES[self.kind])


def kd_schedule(spec: ObjectiveSpec, num_steps: int) -> Callable[[jax.Array], Factor]:
    """Factor of the distillation's weights by step, from 0 to 1: what the teacher knows late, it teaches late."""
    if not spec.kd_start_fraction and not spec.kd_warmup_fraction:
        return lambda step: 1.0
    start, warmup = (int(fraction * num_steps) for fraction in (spec.kd_start_fraction, spec.kd_warmup_fraction))
    if not warmup:
        return lambda step: jnp.float32(step >= start)
    return lambda step: jnp.clip((step - start) / jnp.float32(warmup), 0.0, 1.0)


def objective(
    output: ModelOutput,
    muscles: Labels,
    clip_valid: ClipValid,
    spec: ObjectiveSpec,
    weights: LabelWeights | None = None,
    kd_factor: Factor = 1.0,
) -> tuple[Loss, Terms]:
    """Computes the total loss and its terms.

    Args:
      output: What the model returns, with its distillation sites.
      muscles: Labels in [0, 1].
      clip_valid: False for padding.
      spec: Settings of the objective.
      weights: Weights of the labels; None for 1.
      kd_factor: Factor of the distillation's weights, the value of `kd_schedule`.

    Returns:
      Float32 loss, and the terms by name: `loss`, `loss_fused` and `loss_<branch>`; `kd_<direction>`,
      `kd_<direction>/<site>` and `kd_logits_<direction>`, without weights; `loss_kd`, the part of the loss that they
      make up together.
    """
    classify = spec.classification_loss
    if weights is not None:
        classify = functools.partial(classify, weights=weights.of(muscles))
    terms = {"loss_fused": classify(output.logits, muscles, clip_valid)}
    total = terms["loss_fused"]
    if len(output.branch_logits) > 1:
        for branch, logits in output.branch_logits.items():
            seen = output.present.get(branch)
            terms[f"loss_{branch}"] = classify(logits, muscles, _and_valid(clip_valid, seen))
            total += spec.branch_weight * terms[f"loss_{branch}"]
    parts = []
    if output.sites and spec.kd_weight:
        kd_terms, mean = _token_distillation(output, clip_valid, spec)
        terms |= kd_terms
        parts.append(spec.kd_weight * kd_factor * mean)
    if output.learners and spec.kd_logits_weight:
        kd_terms, mean = _logit_distillation(output, clip_valid, spec)
        terms |= kd_terms
        parts.append(spec.kd_logits_weight * kd_factor * mean)
    for part in parts:
        total += part
    if parts:
        terms["loss_kd"] = functools.reduce(jnp.add, parts)
    return total, {"loss": total, **terms}


def _token_distillation(output: ModelOutput, clip_valid: ClipValid, spec: ObjectiveSpec) -> tuple[Terms, Loss]:
    """The distillation terms by site and by direction, and the mean over all sites."""
    terms: Terms = {}
    by_direction: dict[str, list[jax.Array]] = {}
    for name, site in output.sites.items():
        value = distillation_loss(
            site.sender,
            site.receiver,
            clip_valid=_and_valid(clip_valid, site.valid),
            kind=spec.kd_kind,
            tau=spec.kd_tau,
            axis=spec.kd_axis,
            normalization=spec.kd_normalization,
            reduction=spec.kd_reduction,
        )
        terms[f"kd_{name}"] = value
        by_direction.setdefault(name.split("/")[0], []).append(value)
    for direction, values in by_direction.items():
        terms[f"kd_{direction}"] = jnp.mean(jnp.stack(values))
    every_site = [value for values in by_direction.values() for value in values]
    return terms, jnp.mean(jnp.stack(every_site))


def _logit_distillation(output: ModelOutput, clip_valid: ClipValid, spec: ObjectiveSpec) -> tuple[Terms, Loss]:
    """The distillation terms of the logits by direction, and their mean; only clips that both branches see count."""
    valid = functools.reduce(_and_valid, output.present.values(), clip_valid)
    terms: Terms = {}
    for student in output.learners:
        (teacher,) = (name for name in output.branch_logits if name != student)
        terms[f"kd_logits_to_{student}"] = logit_distillation_loss(
            output.branch_logits[teacher],
            output.branch_logits[student],
            clip_valid=valid,
            tau=spec.kd_logits_tau,
            link=link_of(spec.kind),
        )
    return terms, jnp.mean(jnp.stack(list(terms.values())))


def _and_valid(clip_valid: ClipValid, valid: jax.Array | None) -> ClipValid:
    """The valid clips for which a second mask holds too, where there is one."""
    return clip_valid if valid is None else clip_valid * valid
