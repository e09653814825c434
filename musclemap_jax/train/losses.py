"""Losses of multi-label classification, on logits, with a mask of the clips that count.

- `sigmoid_bce`: binary cross-entropy of each region, the natural loss of the task.
- `softmax_bce`: binary cross-entropy of a softmax over the regions, which the released code (KPeng9510/MuscleMap) calls
  `focal_loss_multilabel`; kept for comparison. It cannot fit a clip with two positive regions, since its probabilities
  sum to 1.
- `asymmetric`: Ridnik et al., "Asymmetric loss for multi-label classification", 2021; equation 7.

Differences from upstream: every loss is the mean over valid clips and regions (the asymmetric loss is a sum there), and
logarithms are computed from logits, so none is clamped (torch's BCE clamps the log at -100).

Losses are an open table: a configuration's file may add its own to `LOSSES` (docs/extending.md). One that is a frozen
dataclass has its fields in the configuration, at `config.loss.parameters.<name>`.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, log_softmax, logsumexp
from jaxtyping import Array, Float, Shaped

from musclemap_jax.errors import UserError

Logits = Float[Array, "B K"]
Labels = Shaped[Array, "B K"]
ClipValid = Shaped[Array, " B"]
Weights = Float[Array, "B K"] | None
Loss = Float[Array, ""]

MultiLabelLoss = Callable[..., Loss]
"""(logits, labels in [0, 1], clip_valid) -> float32; also takes `weights=` where `train/label_weights.py` is to act."""


def sigmoid_bce(logits: Logits, labels: Labels, clip_valid: ClipValid, weights: Weights = None) -> Loss:
    """Binary cross-entropy with logits.

    Args:
      logits: Logits of any float dtype; the loss is computed in float32.
      labels: Labels in [0, 1].
      clip_valid: 1 for a real clip, 0 for padding; values in padding have no effect, not even NaN.
      weights: Factor of the loss of each clip and region; None for 1.

    Returns:
      Float32 mean over valid clips and regions, not divided by the weights; 0 when no clip is valid.
    """
    logits, labels = _prepare(logits, labels, clip_valid)
    losses = -labels * log_sigmoid(logits) - (1 - labels) * log_sigmoid(-logits)
    return _mean_over_valid(losses, clip_valid, weights)


def softmax_bce(logits: Logits, labels: Labels, clip_valid: ClipValid, weights: Weights = None) -> Loss:
    """Binary cross-entropy of softmax(logits) over the regions; arguments and result as in `sigmoid_bce`."""
    logits, labels = _prepare(logits, labels, clip_valid)
    num_regions = logits.shape[1]
    # log(1 - p_k) = logsumexp of the other logits - logsumexp of all: it and its gradient are finite where p_k is 1.
    own = jnp.eye(num_regions, dtype=bool)[jnp.newaxis]
    others = jnp.where(own, -jnp.inf, logits[:, jnp.newaxis, :])
    log_not_p = logsumexp(others, axis=-1) - logsumexp(logits, axis=-1, keepdims=True)
    losses = -labels * log_softmax(logits, axis=-1) - (1 - labels) * log_not_p
    return _mean_over_valid(losses, clip_valid, weights)


@dataclass(frozen=True)
class Asymmetric:
    """Asymmetric loss: easy negatives weigh less, and those below the margin nothing.

    With equal exponents and no margin it is the focal loss (Lin et al., 2017) without its class weight.

    Attributes:
      gamma_positive: Focusing exponent for positives, 0 or at least 1.
      gamma_negative: Focusing exponent for negatives, 0 or at least 1.
      margin: Probability by which negatives are shifted down, in [0, 1).
    """

    gamma_positive: float = 1.0
    gamma_negative: float = 4.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        path = "config.loss.parameters.asymmetric"
        for name in ("gamma_positive", "gamma_negative"):
            gamma = getattr(self, name)
            if gamma != 0 and gamma < 1:
                # Between 0 and 1 the gradient of p^gamma is infinite at p = 0.
                raise UserError(f"{path}.{name}: expected 0 or a number of at least 1, got {gamma}")
        if not 0 <= self.margin < 1:
            raise UserError(f"{path}.margin: expected a probability in [0, 1), got {self.margin}")

    def __call__(self, logits: Logits, labels: Labels, clip_valid: ClipValid, weights: Weights = None) -> Loss:
        """Computes the loss; arguments and result as in `sigmoid_bce`."""
        logits, labels = _prepare(logits, labels, clip_valid)
        positive = -(jax.nn.sigmoid(-logits) ** self.gamma_positive) * log_sigmoid(logits)
        # jnp.maximum may lose gradients: models/layers/robust_max.py
        shifted = jax.nn.relu(jax.nn.sigmoid(logits) - self.margin)
        # Without a margin, log(1 - p) computed from the logits stays finite where p rounds to 1.
        log_not_shifted = jnp.log1p(-shifted) if self.margin > 0 else log_sigmoid(-logits)
        negative = -(shifted**self.gamma_negative) * log_not_shifted
        return _mean_over_valid(labels * positive + (1 - labels) * negative, clip_valid, weights)


LOSSES: dict[str, MultiLabelLoss] = {
    "sigmoid_bce": sigmoid_bce,
    "softmax_bce": softmax_bce,
    "asymmetric": Asymmetric(),
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


def _mean_over_valid(losses: jax.Array, clip_valid: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Mean of (B, K) losses, times their weights, over regions and the clips with clip_valid 1."""
    keep = clip_valid.astype(bool)[:, jnp.newaxis]
    if weights is not None:
        losses = losses * jnp.where(keep, weights, 0.0)
    total = jnp.sum(jnp.where(keep, losses, 0.0))
    num_valid = jnp.sum(keep, dtype=jnp.float32)
    return total / (jnp.maximum(num_valid, 1.0) * losses.shape[1])
