"""Losses of multi-label classification, on logits, with a mask of the clips that count.

- ``sigmoid_bce``: binary cross-entropy of each region, what the task calls for.
- ``softmax_bce``: binary cross-entropy of a softmax over the regions. The released code's ``focal_loss_multilabel``
  (KPeng9510/MuscleMap), whose name notwithstanding; kept for comparison with it. It cannot fit a clip with two
  positive regions, since its probabilities sum to 1.
- ``asymmetric``: Ridnik et al., "Asymmetric loss for multi-label classification", 2021; equation 7.

Where we differ: every loss is the mean over valid clips and regions (upstream, the asymmetric loss is a sum), and
the logarithms are computed from logits, so no clamp is needed: torch's BCE stops the log at -100, we do not.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, log_softmax, logsumexp

from musclemap_jax.errors import UserError

MultiLabelLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(logits (B, K), labels (B, K) in [0, 1], clip_valid (B,)) -> () float32."""


def sigmoid_bce(logits: jax.Array, labels: jax.Array, clip_valid: jax.Array) -> jax.Array:
    """Binary cross-entropy with logits.

    Args:
      logits: (B, K), any float dtype; computed in float32.
      labels: (B, K) in [0, 1].
      clip_valid: (B,) 1 for a real clip, 0 for padding; what padding holds has no effect, NaN included.

    Returns:
      () float32: the mean over valid clips and regions, 0 when no clip is valid.
    """
    logits, labels = _prepare(logits, labels, clip_valid)
    losses = -labels * log_sigmoid(logits) - (1 - labels) * log_sigmoid(-logits)
    return _mean_over_valid(losses, clip_valid)


def softmax_bce(logits: jax.Array, labels: jax.Array, clip_valid: jax.Array) -> jax.Array:
    """Binary cross-entropy of softmax(logits) over the regions; arguments and result as :func:`sigmoid_bce`."""
    logits, labels = _prepare(logits, labels, clip_valid)
    num_regions = logits.shape[1]
    # log(1 - p_k) = logsumexp of the other logits - logsumexp of all: finite, gradient too, where p_k rounds to 1.
    own = jnp.eye(num_regions, dtype=bool)[jnp.newaxis]
    others = jnp.where(own, -jnp.inf, logits[:, jnp.newaxis, :])
    log_not_p = logsumexp(others, axis=-1) - logsumexp(logits, axis=-1, keepdims=True)
    losses = -labels * log_softmax(logits, axis=-1) - (1 - labels) * log_not_p
    return _mean_over_valid(losses, clip_valid)


def asymmetric(
    logits: jax.Array,
    labels: jax.Array,
    clip_valid: jax.Array,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> jax.Array:
    """Asymmetric loss: easy negatives weigh less, and those below the margin nothing.

    Args:
      logits: as in :func:`sigmoid_bce`.
      labels: (B, K) 0 or 1.
      clip_valid: as in :func:`sigmoid_bce`.
      gamma_positive: focusing power on positives, 0 or at least 1.
      gamma_negative: focusing power on negatives, 0 or at least 1.
      margin: probability by which negatives are shifted down, in [0, 1).

    Returns:
      () float32: the mean over valid clips and regions, 0 when no clip is valid.
    """
    logits, labels = _prepare(logits, labels, clip_valid)
    of_positive = -(jax.nn.sigmoid(-logits) ** gamma_positive) * log_sigmoid(logits)
    shifted = jax.nn.relu(
        jax.nn.sigmoid(logits) - margin
    )  # jnp.maximum may lose gradients: models/layers/robust_max.py
    # With no margin, log(1 - p) by way of the logits stays finite where p rounds to 1.
    log_not_shifted = jnp.log1p(-shifted) if margin > 0 else log_sigmoid(-logits)
    of_negative = -(shifted**gamma_negative) * log_not_shifted
    return _mean_over_valid(labels * of_positive + (1 - labels) * of_negative, clip_valid)


LOSSES: dict[str, MultiLabelLoss] = {
    "sigmoid_bce": sigmoid_bce,
    "softmax_bce": softmax_bce,
    "asymmetric": asymmetric,
}
"""Losses by the name that a config gives them."""


def get_loss(name: str) -> MultiLabelLoss:
    """The loss of that name; UserError with the known names otherwise."""
    if name not in LOSSES:
        raise UserError(f"config loss: expected one of {', '.join(LOSSES)}, got {name!r}: set one of these")
    return LOSSES[name]


def _prepare(logits: jax.Array, labels: jax.Array, clip_valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Float32 arrays whose padded rows are 0, so that NaN there reaches neither the loss nor its gradient."""
    if logits.ndim != 2 or labels.shape != logits.shape or clip_valid.shape != logits.shape[:1]:
        raise ValueError(
            f"expected logits (B, K), labels (B, K) and clip_valid (B,), got {logits.shape}, {labels.shape} and "
            f"{clip_valid.shape}"
        )
    keep = clip_valid.astype(bool)[:, jnp.newaxis]
    logits = jnp.where(keep, logits.astype(jnp.float32), 0.0)
    return logits, jnp.where(keep, labels.astype(jnp.float32), 0.0)


def _mean_over_valid(losses: jax.Array, clip_valid: jax.Array) -> jax.Array:
    """Mean of (B, K) losses over regions and the clips with clip_valid 1."""
    keep = clip_valid.astype(bool)
    total = jnp.sum(jnp.where(keep[:, jnp.newaxis], losses, 0.0))
    num_valid = jnp.sum(keep, dtype=jnp.float32)
    return total / (jnp.maximum(num_valid, 1.0) * losses.shape[1])
