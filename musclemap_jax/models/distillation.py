"""Multi-classification token knowledge distillation (MCTKD): its sites and its loss at one site; that of logits.

Source: TransM3E (arXiv:2303.00952) and its released code. There the loss is 0.9 times `reduction="released"` with
tau = 10 and axis `token`, summed over the blocks and divided by 16 whatever their number; here the factor comes from
the configuration, and the training objective takes the mean over sites.

Not in the paper: other distances than the divergence; tokens that are normalised first, without which tau = 10 flattens
small tokens on both sides until nothing is left to learn (for logits: Sun et al., "Logit standardization in knowledge
distillation", 2024); and logits that teach logits (Zhang et al., "Deep mutual learning", 2018).

Letters of shapes: B clips, M class tokens in one set, D width, K muscle regions.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from musclemap_jax.errors import UserError

AXES = {"token": 1, "channel": 2}
KINDS = ("kl", "cosine", "mse")
NORMALIZATIONS = ("none", "layer", "l2")
REDUCTIONS = ("sum", "released")
SITE_KINDS = ("dense", "sparse", "final", "none")

VARIANCE_EPSILON = 1e-6
LENGTH_EPSILON = 1e-12


def distillation_loss(
    sender: Float[Array, "B M D"],
    receiver: Float[Array, "B M D"],
    *,
    clip_valid: Shaped[Array, " B"],
    kind: str = "kl",
    tau: float = 10.0,
    axis: str = "token",
    normalization: str = "none",
    reduction: str = "sum",
) -> Float[Array, ""]:
    """Computes how far the receiver's tokens are from the sender's, over the valid clips.

    Args:
      sender: Tokens of the teaching branch; no gradient flows into them.
      receiver: Tokens of the taught branch.
      clip_valid: 1 for a clip that counts, 0 for padding.
      kind: `kl`: tau^2 * KL(softmax(sender / tau) || softmax(receiver / tau)); `cosine`: 1 - cosine of the angle
        between both; `mse`: their squared difference.
      tau: Temperature of `kl`, positive.
      axis: What the softmax, the angle or the sum runs over: the M tokens (`token`, as released) or the D channels
        (`channel`).
      normalization: What is done to each token of both sides first, over its channels: `layer`, to mean 0 and variance
        1; `l2`, to length 1; or `none`.
      reduction: `sum` over that axis, then the mean over clips and the other axis; or `released`, the mean over every
        element, smaller by the length of the axis.

    Returns:
      Scalar float32; 0 when no clip is valid.

    Raises:
      UserError: Unknown kind, axis, normalization or reduction.
    """
    choices = {
        "kind": (kind, KINDS),
        "axis": (axis, AXES),
        "normalization": (normalization, NORMALIZATIONS),
        "reduction": (reduction, REDUCTIONS),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise UserError(f"distillation {name}: expected one of {', '.join(known)}, got {value!r}")
    valid = clip_valid.astype(jnp.float32)
    # Padding may hold infinities or NaN: it is replaced, since zero times its gradient would not be zero.
    counts = (valid > 0)[:, None, None]
    sender = jnp.where(counts, lax.stop_gradient(sender).astype(jnp.float32), 0.0)
    receiver = jnp.where(counts, receiver.astype(jnp.float32), 0.0)
    sender, receiver = (_normalised(tokens, normalization) for tokens in (sender, receiver))
    per_clip = jnp.mean(_distance(sender, receiver, kind, tau, AXES[axis]), axis=1)
    if kind == "kl":
        per_clip = tau**2 * per_clip
    if reduction == "released":
        per_clip = per_clip / sender.shape[AXES[axis]]
    return _mean_over_valid(per_clip, valid)


def _distance(sender: jax.Array, receiver: jax.Array, kind: str, tau: float, axis: int) -> Float[Array, "B _"]:
    """The distance of tokens (B, M, D) along an axis; without the factor tau^2."""
    if kind == "kl":
        log_sender = jax.nn.log_softmax(sender / tau, axis=axis)
        log_receiver = jax.nn.log_softmax(receiver / tau, axis=axis)
        return jnp.sum(jnp.exp(log_sender) * (log_sender - log_receiver), axis=axis)
    if kind == "cosine":
        return 1 - jnp.sum(_unit_length(sender, axis) * _unit_length(receiver, axis), axis=axis)
    return jnp.sum(jnp.square(sender - receiver), axis=axis)


def _normalised(tokens: jax.Array, normalization: str) -> jax.Array:
    """Normalises each token over its channels; see `distillation_loss`."""
    if normalization == "layer":
        centred = tokens - jnp.mean(tokens, axis=-1, keepdims=True)
        return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + VARIANCE_EPSILON)
    return _unit_length(tokens, -1) if normalization == "l2" else tokens


def _unit_length(tokens: jax.Array, axis: int) -> jax.Array:
    """Vectors along an axis, divided by their lengths; zero stays zero, with a finite gradient."""
    return tokens * lax.rsqrt(jnp.sum(jnp.square(tokens), axis=axis, keepdims=True) + LENGTH_EPSILON)


def _mean_over_valid(per_clip: jax.Array, valid: jax.Array) -> jax.Array:
    return jnp.sum(valid * per_clip) / jnp.maximum(jnp.sum(valid), 1.0)


def logit_distillation_loss(
    teacher: Float[Array, "B K"],
    student: Float[Array, "B K"],
    *,
    clip_valid: Shaped[Array, " B"],
    tau: float = 1.0,
    link: str = "sigmoid",
) -> Float[Array, ""]:
    """Computes tau^2 * KL(link(teacher / tau) || link(student / tau)) over the valid clips.

    Args:
      teacher: Logits of the teaching branch; no gradient flows into them.
      student: Logits of the taught branch.
      clip_valid: 1 for a clip that counts, 0 for padding.
      tau: Temperature, positive.
      link: `sigmoid`: each region is a variable of its own, and the divergence their mean; `softmax`: the regions are
        the values of one variable.

    Returns:
      Scalar float32; 0 when no clip is valid.
    """
    valid = clip_valid.astype(jnp.float32)
    counts = (valid > 0)[:, None]
    teacher = jnp.where(counts, lax.stop_gradient(teacher).astype(jnp.float32), 0.0) / tau
    student = jnp.where(counts, student.astype(jnp.float32), 0.0) / tau
    if link == "softmax":
        log_teacher, log_student = jax.nn.log_softmax(teacher, axis=1), jax.nn.log_softmax(student, axis=1)
        divergence = jnp.sum(jnp.exp(log_teacher) * (log_teacher - log_student), axis=1)
    else:
        active, idle = (
            jax.nn.sigmoid(sign * teacher) * (jax.nn.log_sigmoid(sign * teacher) - jax.nn.log_sigmoid(sign * student))
            for sign in (1, -1)
        )
        divergence = jnp.mean(active + idle, axis=1)
    return _mean_over_valid(tau**2 * divergence, valid)


def distillation_sites(
    kind: str, *, first_stage_ends: tuple[int, ...], second_stage_ends: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Pairs layers of the first branch with layers of the second, between which tokens are distilled.

    Args:
      kind: `dense`: layer j of the second branch with layer round((j + 1) * depth / layers) - 1 of the first, at least
        0 (layer by layer where both are equally deep); `sparse`: ends of stages, paired from the last backwards;
        `final`: the last layers; `none`.
      first_stage_ends: Last layer of every stage of the first branch, counted from 0; the last one is depth - 1.
      second_stage_ends: The same of the second branch; (3, 6, 9) for HD-GCN.

    Returns:
      (layer of the first branch, layer of the second), counted from 0, in the order of the second branch's layers.

    Raises:
      UserError: Unknown kind.
    """
    first_last, second_last = first_stage_ends[-1], second_stage_ends[-1]
    if kind == "dense":
        depth, layers = first_last + 1, second_last + 1
        return tuple((max(round((layer + 1) * depth / layers) - 1, 0), layer) for layer in range(layers))
    if kind == "sparse":
        count = min(len(first_stage_ends), len(second_stage_ends))
        return tuple(zip(first_stage_ends[-count:], second_stage_ends[-count:], strict=True))
    if kind == "final":
        return ((first_last, second_last),)
    if kind == "none":
        return ()
    raise UserError(f"distillation sites: expected one of {', '.join(SITE_KINDS)}, got {kind!r}")
