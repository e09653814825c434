"""Weights of positive and negative labels by muscle region, against rare regions that no gradient speaks for.

- `class_balanced`: Cui et al., "Class-balanced loss based on effective number of samples", 2019. n clips that show a
  region count as (1 - beta^n) / (1 - beta) clips, and the region's loss, on positives and negatives alike, is weighted
  by the inverse; as there, the weights are scaled to a mean of 1. In the paper a clip has one class; that each region
  of a multi-label clip has its own weight is the reading of Wu et al., ECCV 2020 (arXiv:2007.09654).
- `positives`: a positive weighs as much more as negatives are more frequent, as torch's `pos_weight` is commonly set.

Letters of shapes: B clips, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

BALANCES = ("none", "positives", "class_balanced")


class LabelCounts(NamedTuple):
    """Number of training clips, and of those that show each of the K regions."""

    num_clips: int
    num_positive: tuple[int, ...]


class LabelWeights(NamedTuple):
    """Weights of a region's positive and of its negative labels, (K,) each."""

    positive: tuple[float, ...]
    negative: tuple[float, ...]

    def of(self, labels: jax.Array) -> jax.Array:
        """Weights (B, K) of labels in [0, 1], float32."""
        labels = labels.astype(jnp.float32)
        positive, negative = (jnp.asarray(weights, jnp.float32)[jnp.newaxis] for weights in self)
        return labels * positive + (1 - labels) * negative


def label_weights(
    balance: str, beta: float, positive_weights: Sequence[float], counts: LabelCounts
) -> LabelWeights | None:
    """Computes the weights of a run.

    Args:
      balance: One of `BALANCES`.
      beta: Of `class_balanced`, in [0, 1): 0 weighs all regions alike, near 1 by inverse frequency.
      positive_weights: Further factors of the positives: one for each region, or one for all; empty for 1.
      counts: Counts of the training split; a region that no clip shows counts as shown by one.

    Returns:
      The weights, or None if all are 1.

    Raises:
      ValueError: There are neither as many positive weights as regions nor one.
    """
    if balance == "none" and not positive_weights:
        return None
    shown = [max(count, 1) for count in counts.num_positive]
    if len(positive_weights) not in (0, 1, len(shown)):
        raise ValueError(f"expected 1 or {len(shown)} positive weights, got {len(positive_weights)}")
    given = tuple(positive_weights) * (len(shown) if len(positive_weights) == 1 else 1) or (1.0,) * len(shown)
    positive = negative = [1.0] * len(shown)
    if balance == "positives":
        positive = [max(counts.num_clips - count, 1) / count for count in shown]
    elif balance == "class_balanced":
        inverse = [(1 - beta) / (1 - beta**count) for count in shown]
        positive = negative = [weight * len(shown) / sum(inverse) for weight in inverse]
    return LabelWeights(tuple(a * b for a, b in zip(positive, given, strict=True)), tuple(negative))
