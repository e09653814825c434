"""Losses of multi-label classification, on logits, with a mask of the clips that count.

- `sigmoid_bce`: binary cross-entropy of each region, the natural loss of the task.
- `softmax_bce`: binary cross-entropy of a softmax over the regions, which the released code (KPeng9510/MuscleMap) calls
  `focal_loss_multilabel`; kept for comparison. It cannot fit a clip with two positive regions, since its probabilities
  sum to 1.
- `asymmetric`: Ridnik et al., "Asymmetric loss for multi-label classification", 2021; equation 7.

Differences from upstream: every loss is the mean over valid clips and regions (the asymmetric loss is a sum there), and
logarithms are computed from logits, so none is clamped (torch's BCE clamps the log at -100).

Losses are an open table: a configuration's file may add its own to `LOSSES` (docs/extending.md).

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, log_softmax, logsumexp
from jaxtyping import Array, Float, Shaped

Logits = Float[Array, "B K"]
Labels = Shaped[Array, "B K"]
ClipValid = Shaped[Array, " B"]
Loss = Float[Array, ""]

MultiLabelLoss = Callable[[Logits, Labels, ClipValid], Loss]
"""(logits, labels in [0, 1], clip_valid) -> float32."""


def sigmoid_bce(logits: Logits, labels: Labels, clip_valid: ClipValid) -> Loss:
    """Binary cross-entropy with logits.

    Args:
      logits: Logits of any float dtype; the loss is computed in float32.
      labels: Labels in [0, 1].
      clip_valid: 1 for a real clip, 0 for padding; values in padding have no effect, not even NaN.

    Returns:
      Float32 mean over valid clips and regions; 0 when no clip is valid.
    """
    logits, labels = _prepare(logits, labels, clip_valid)
    losses = -labels * log_sigmoid(logits) - (1 - labels) * log_sigmoid(-logits)
    return _mean_over_valid(losses, clip_valid)


def softmax_bce(logits: Logits, labels: Labels, clip_valid: ClipValid) -> Loss:
    """Binary cross-entropy of softmax(logits) over the regions; arguments and result as in `sigmoid_bce`."""
    logits, labels = _prepare(logits, labels, clip_valid)
    num_regions = logits.shape[1]
    # log(1 - p_k) = logsumexp of the other logits - logsumexp of all: it and its gradient are finite where p_k is 1.
    own = jnp.eye(num_regions, dtype=bool)[jnp.newaxis]
    others = jnp.where(own, -jnp.inf, logits[:, jnp.newaxis, :])
    log_not_p = logsumexp(others, axis=-1) - logsumexp(logits, axis=-1, keepdims=True)
    losses = -labels * log_softmax(logits, axis=-1) - (1 - labels) * log_not_p
    return _mean_over_valid(losses, clip_valid)


def asymmetric(
    logits: Logits,
    labels: Labels,
    clip_valid: ClipValid,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Loss:
    """Asymmetric loss: easy negatives weigh less, and those below the margin nothing.

    The other arguments and the result are those of `sigmoid_bce`.

    Args:
      gamma_positive: Focusing exponent for positives, 0 or at least 1.
      gamma_negative: Focusing exponent for negatives, 0 or at least 1.
      margin: Probability by which negatives are shifted down, in [0, 1).
    """
    logits, labels = _prepare(logits, labels, clip_valid)
    positive = -(jax.nn.sigmoid(-logits) ** gamma_positive) * log_sigmoid(logits)
    # jnp.maximum may lose gradients: models/layers/robust_max.py
    shifted = jax.nn.relu(jax.nn.sigmoid(logits) - margin)
    # Without a margin, log(1 - p) computed from the logits stays finite where p rounds to 1.
    log_not_shifted = jnp.log1p(-shifted) if margin > 0 else log_sigmoid(-logits)
    negative = -(shifted**gamma_negative) * log_not_shifted
    return _mean_over_valid(labels * positive + (1 - labels) * negative, clip_valid)


LOSSES: dict[str, MultiLabelLoss] = {
    "sigmoid_bce": sigmoid_bce,
    "softmax_bce": softmax_bce,
    "asymmetric": asymmetric,
}
"""Losses by the name that a configuration gives them."""

SCORE_LINKS: dict[str, str] = {"softmax_bce": "softmax"}
"""Loss -> how the logits that it trains become scores (`eval/score_link.py`); the others have the link `sigmoid`."""


def link_of(loss: str) -> str:
    """How the logits that a loss trains become scores, one of `score_link.LINKS`."""
    return SCORE_LINKS.get(loss, "sigmoid")


def _prepare(logits: jax.Array, labels: jax.Array, clip_valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sets padded rows to 0, so that NaN there reaches neither the loss nor its gradient; in float32."""
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
