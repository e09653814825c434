"""Averages over the persons of a clip.

Letters of shapes: B clips, T poses, P persons, G class tokens, D width.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from musclemap_jax.models.layers.precision import upcast


def person_weights(pose_valid: Bool[Array, "B T P"]) -> Float[Array, "B P"]:
    """Float32 weights of persons: in proportion to their poses, with sum 1 (0 if there are none).

    In real videos a person of a few poses is often the first one under a new number, or nobody.
    """
    num_poses = pose_valid.sum(1, dtype=jnp.float32)
    return num_poses / jnp.maximum(num_poses.sum(1, keepdims=True), 1)


def mean_over_persons(x: Float[Array, "BP G D"], weights: Float[Array, "B P"]) -> Float[Array, "B G D"]:
    """Averages over persons with their weights; in float32 inside."""
    by_person = upcast(x).reshape(*weights.shape, *x.shape[1:])
    return (by_person * weights[:, :, None, None]).sum(1).astype(x.dtype)
