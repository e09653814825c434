"""Multi-classification token knowledge distillation (MCTKD): its sites and its loss at one site.

Source: TransM3E (arXiv:2303.00952) and its released code. There the loss is 0.9 times `reduction="released"` with
tau = 10 and axis `token`, summed over the blocks and divided by 16 whatever their number; here the factor comes from
the configuration, and the training objective takes the mean over sites.

Letters of shapes: B clips, M class tokens in one set, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from musclemap_jax.errors import UserError

AXES = {"token": 1, "channel": 2}
REDUCTIONS = ("sum", "released")
SITE_KINDS = ("dense", "sparse", "final", "none")


def distillation_loss(
    sender: Float[Array, "B M D"],
    receiver: Float[Array, "B M D"],
    *,
    clip_valid: Shaped[Array, " B"],
    tau: float = 10.0,
    axis: str = "token",
    reduction: str = "sum",
) -> Float[Array, ""]:
    """Computes tau^2 * KL(softmax(sender / tau) || softmax(receiver / tau)) over the valid clips.

    Args:
      sender: Tokens of the teaching branch; no gradient flows into them.
      receiver: Tokens of the taught branch.
      clip_valid: 1 for a clip that counts, 0 for padding.
      tau: Temperature, positive.
      axis: What the softmax runs over: the M tokens (`token`, as released) or the D channels (`channel`).
      reduction: `sum` over that axis, then the mean over clips and the other axis; or `released`, the mean over every
        element, smaller by the length of the axis.

    Returns:
      Scalar float32; 0 when no clip is valid.

    Raises:
      UserError: Unknown axis or reduction.
    """
    for name, value, known in (("axis", axis, AXES), ("reduction", reduction, REDUCTIONS)):
        if value not in known:
            raise UserError(f"distillation {name}: expected one of {', '.join(known)}, got {value!r}")
    valid = clip_valid.astype(jnp.float32)
    # Padding may hold infinities or NaN: it is replaced, since zero times its gradient would not be zero.
    counts = (valid > 0)[:, None, None]
    sender = jnp.where(counts, lax.stop_gradient(sender).astype(jnp.float32), 0.0)
    receiver = jnp.where(counts, receiver.astype(jnp.float32), 0.0)
    log_sender = jax.nn.log_softmax(sender / tau, axis=AXES[axis])
    log_receiver = jax.nn.log_softmax(receiver / tau, axis=AXES[axis])
    divergence = jnp.sum(jnp.exp(log_sender) * (log_sender - log_receiver), axis=AXES[axis])
    per_clip = tau**2 * jnp.mean(divergence, axis=1)
    if reduction == "released":
        per_clip = per_clip / sender.shape[AXES[axis]]
    return jnp.sum(valid * per_clip) / jnp.maximum(jnp.sum(valid), 1.0)


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
