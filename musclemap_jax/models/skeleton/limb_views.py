"""Limb views: what the class token of a muscle region sees of the body.

Exercises combine: a lunge with a biceps curl has the legs of one and the arms of another. Where every activity of the
training split has its own pair of both, a network reads the muscles of the legs off the arms too, which is wrong of a
new activity. So each skeleton enters twice, once without legs and once without arms, like two persons; the class tokens
of the muscles that move or hold the arms see the first, all others the second. Ours, beyond the paper.

Letters of shapes: B clips, T poses, P persons, V joints, M class tokens in one set, G class tokens of all sets.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from musclemap_jax.biomechanics.limbs import ARM_REGIONS, joints_without
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import SkeletonLayout
from musclemap_jax.taxonomy import MUSCLE_REGIONS


def without_limbs(poses: Float[Array, "B T P V 3"], layout: SkeletonLayout) -> Float[Array, "B T 2*P V 3"]:
    """The persons without legs, then the same persons without arms; an absent joint is all zero."""
    kept = (joints_without(limb, layout.joints)[None, None, None, :, None] for limb in ("legs", "arms"))
    return jnp.concatenate([jnp.where(joints, poses, 0.0) for joints in kept], axis=2)


def check_regions(
    regions: Sequence[str], arm_regions: tuple[int, ...] | None, num_tokens: int | None, backbone: str
) -> None:
    """Checks that each region has a class token, and that it is known which are those of the arms' muscles.

    Args:
      regions: Names of the muscle regions that the clips are labelled with.
      arm_regions: As of `weights_of_views`.
      num_tokens: Number of class tokens in a set; None for one per region.
      backbone: Its name, for messages.

    Raises:
      UserError: There is another number of class tokens, the regions are not MuscleMap's and none are named, or there
        are none of these indices.
    """
    field = f"config.model.backbones.{backbone}"
    if num_tokens not in (None, len(regions)):
        raise UserError(
            f"config.model.num_tokens: limb views need a class token for each of {len(regions)} muscle regions, got "
            f"{num_tokens}: set it to None, or {field}.limb_views=False"
        )
    if arm_regions is None and tuple(regions) != MUSCLE_REGIONS:
        raise UserError(
            f"{field}.arm_regions: the data set has muscle regions of its own: give the indices of those whose muscles "
            f"move or hold the arms, or set {field}.limb_views=False; from 0 they are {', '.join(regions)}"
        )
    if not set(arm_regions or ()) <= set(range(len(regions))):
        raise UserError(f"{field}.arm_regions: expected indices from 0 to {len(regions) - 1}, got {arm_regions}")


def weights_of_views(
    weights: Float[Array, "B P"], num_tokens: int, num_sets: int, arm_regions: tuple[int, ...] | None
) -> Float[Array, "B 2*P G"]:
    """Weights of the persons of `without_limbs` for each class token, of which every set has the regions' order.

    Args:
      weights: Weight of each person.
      num_tokens: M.
      num_sets: The number of sets.
      arm_regions: Indices of the regions of the arms' muscles; None for MuscleMap's.
    """
    indices = ARM_REGIONS if arm_regions is None else arm_regions
    of_arms = np.tile(np.isin(np.arange(num_tokens), indices), num_sets)[None, None]
    return jnp.concatenate([weights[..., None] * of_arms, weights[..., None] * ~of_arms], axis=1)
