"""Limb views: what the class token of a muscle region sees of the body.

Exercises combine: a lunge with a biceps curl has the legs of one and the arms of another. Where every activity of the
training split has its own pair of both, a network reads the muscles of the legs off the arms too, which is wrong of a
new activity. So each skeleton enters twice, once without legs and once without arms; the class tokens of the muscles
that move or hold the arms see the first, all others the second. Ours, beyond the paper.

Letters of shapes: B clips, T poses, P persons, V joints, M muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from musclemap_jax.biomechanics.limbs import ARM_REGIONS, joints_without
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import SkeletonLayout
from musclemap_jax.taxonomy import MUSCLE_REGIONS

_CONFIG = "config.model.backbones.pose_statistics"


def without_limbs(poses: Float[Array, "B T P V 3"], layout: SkeletonLayout) -> Float[Array, "B T 2*P V 3"]:
    """The persons without legs, then the same persons without arms; an absent joint is all zero."""
    kept = (joints_without(limb, layout.joints)[None, None, None, :, None] for limb in ("legs", "arms"))
    return jnp.concatenate([jnp.where(joints, poses, 0.0) for joints in kept], axis=2)


def check_regions(regions: Sequence[str], arm_regions: tuple[int, ...] | None, num_tokens: int | None) -> None:
    """Checks that each region has a class token, and that it is known which are those of the arms' muscles.

    Args:
      regions: Names of the muscle regions that the clips are labelled with.
      arm_regions: As of `regions_of_arms`.
      num_tokens: Number of class tokens in a set; None for one per region.

    Raises:
      UserError: There is another number of class tokens, the regions are not MuscleMap's and none are named, or there
        are none of these indices.
    """
    if num_tokens not in (None, len(regions)):
        raise UserError(
            f"config.model.num_tokens: limb views need a class token for each of {len(regions)} muscle regions, got "
            f"{num_tokens}: set it to None, or {_CONFIG}.limb_views=False"
        )
    if arm_regions is None and tuple(regions) != MUSCLE_REGIONS:
        raise UserError(
            f"{_CONFIG}.arm_regions: the data set has muscle regions of its own: give the indices of those whose "
            f"muscles move or hold the arms, or set {_CONFIG}.limb_views=False; from 0 they are {', '.join(regions)}"
        )
    if not set(arm_regions or ()) <= set(range(len(regions))):
        raise UserError(f"{_CONFIG}.arm_regions: expected indices from 0 to {len(regions) - 1}, got {arm_regions}")


def regions_of_arms(num_regions: int, arm_regions: tuple[int, ...] | None) -> Bool[np.ndarray, " M"]:
    """Which muscle regions are those of the arms' muscles, given by their indices; None for MuscleMap's."""
    return np.isin(np.arange(num_regions), ARM_REGIONS if arm_regions is None else arm_regions)
