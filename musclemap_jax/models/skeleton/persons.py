"""Averages over the persons of a clip.

Letters of shapes: B clips, T poses, P persons, G class tokens, D width.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from musclemap_jax.models.layers.precision import upcast


def person_weights(pose_valid: Bool[Array, "B T P"]) -> Float[Array, "B P"]:
    """Float32 weights of persons: equal for those that are seen, with sum 1 (0 if there are none)."""
    seen = pose_valid.any(1).astype(jnp.float32)
    return seen / jnp.maximum(seen.sum(1, keepdims=True), 1)


def mean_over_persons(
    x: Float[Array, "BP G D"], weights: Float[Array, "B P"] | Float[Array, "B P G"]
) -> Float[Array, "B G D"]:
    """Averages over persons with their weights, which may be each token's own; in float32 inside."""
    by_person = upcast(x).reshape(*weights.shape[:2], *x.shape[1:])
    weights = weights if weights.ndim == 3 else weights[:, :, None]
    return (by_person * weights[..., None]).sum(1).astype(x.dtype)
