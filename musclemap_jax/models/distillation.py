"""Multi-classification token knowledge distillation (MCTKD): where it happens and what it costs.

Source: TransM3E (arXiv:2303.00952) and its released code. There the loss is 0.9 times `reduction="released"` with
tau = 10 and axis `token`, summed over the blocks and divided by 16 whatever their number; here the factor is the
configuration's and the sum over sites the training loss's.

Letters of shapes: B clips, M class tokens in one set, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from musclemap_jax.errors import UserError

AXES = {"token": 1, "channel": 2}
REDUCTIONS = ("sum", "released")
SITE_KINDS = ("dense", "sparse", "final", "none")


def distillation_loss(
    sender: jax.Array,
    receiver: jax.Array,
    *,
    clip_valid: jax.Array,
    tau: float = 10.0,
    axis: str = "token",
    reduction: str = "sum",
) -> jax.Array:
    """tau^2 * KL(softmax(sender / tau) || softmax(receiver / tau)), of the valid clips.

    Args:
      sender: (B, M, D); no gradient flows into it.
      receiver: (B, M, D).
      clip_valid: (B,); 1 or True for a clip that counts, 0 for padding.
      tau: temperature, positive.
      axis: the distributions are over the M tokens (`token`, as released) or over the D channels (`channel`).
      reduction: `sum`: over that axis, then the mean over clips and the other axis. `released`: the mean over every
        element, smaller by the length of the axis.

    Returns:
      Scalar float32; 0 when no clip is valid.

    Raises:
      UserError: unknown axis or reduction.
    """
    if axis not in AXES:
        raise UserError(f"distillation axis: expected one of {', '.join(AXES)}, got {axis!r}")
    if reduction not in REDUCTIONS:
        raise UserError(f"distillation reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    valid = clip_valid.astype(jnp.float32)
    # What padding holds may be anything, infinities too: it is replaced, since zero times its slope would not be zero.
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
    kind: str, *, video_stage_ends: tuple[int, ...], second_stage_ends: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Pairs of a video block and a unit of the second branch between which tokens are distilled.

    Args:
      kind: `dense`: unit j of the second branch with video block round((j + 1) * depth / units) - 1, at least 0 (a
        video branch of equal depth: block with block); `sparse`: ends of stages, paired from the last backwards;
        `final`: the last of both; `none`.
      video_stage_ends: last block of every stage of the video branch, the last being depth - 1.
      second_stage_ends: the same of the second branch; (3, 6, 9) for HD-GCN.

    Returns:
      (video block, unit of the second branch), counted from 0, in the order of the units.

    Raises:
      UserError: unknown kind.
    """
    last_block, last_unit = video_stage_ends[-1], second_stage_ends[-1]
    if kind == "dense":
        depth, units = last_block + 1, last_unit + 1
        return tuple((max(round((unit + 1) * depth / units) - 1, 0), unit) for unit in range(units))
    if kind == "sparse":
        count = min(len(video_stage_ends), len(second_stage_ends))
        return tuple(zip(video_stage_ends[-count:], second_stage_ends[-count:], strict=True))
    if kind == "final":
        return ((last_block, last_unit),)
    if kind == "none":
        return ()
    raise UserError(f"distillation sites: expected one of {', '.join(SITE_KINDS)}, got {kind!r}")
