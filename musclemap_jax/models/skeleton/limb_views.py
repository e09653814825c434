"""Limb views: what the class token of a muscle region sees of the body.

Exercises combine: a lunge with a biceps curl has the legs of one and the arms of another. Where every activity of the
training split has its own pair of both, a network reads the muscles of the legs off the arms too, which is wrong of a
new activity. So each skeleton enters twice, once without legs and once without arms, like two persons; the class tokens
of the muscles that move or hold the arms see the first, all others the second. Ours, beyond the paper.

Letters of shapes: B clips, T poses, P persons, V joints, M class tokens in one set, G class tokens of all sets.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from musclemap_jax.biomechanics.limbs import joints_without
from musclemap_jax.skeleton_layouts import SkeletonLayout


def without_limbs(poses: Float[Array, "B T P V 3"], layout: SkeletonLayout) -> Float[Array, "B T 2*P V 3"]:
    """The persons without legs, then the same persons without arms; an absent joint is all zero."""
    kept = (joints_without(limb, layout.joints)[None, None, None, :, None] for limb in ("legs", "arms"))
    return jnp.concatenate([jnp.where(joints, poses, 0.0) for joints in kept], axis=2)


def weights_of_views(
    weights: Float[Array, "B P"], num_tokens: int, num_sets: int, arm_regions: tuple[int, ...]
) -> Float[Array, "B 2*P G"]:
    """Weights of the persons of `without_limbs` for each class token, of which every set has the regions' order."""
    of_arms = np.tile(np.isin(np.arange(num_tokens), arm_regions), num_sets)[None, None]
    return jnp.concatenate([weights[..., None] * of_arms, weights[..., None] * ~of_arms], axis=1)
