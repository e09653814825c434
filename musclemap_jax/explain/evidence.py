"""The jitted functions by which predictions are explained; each set of shapes is compiled once for a model.

Letters of shapes: B clips, V joints.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from musclemap_jax.explain.counterfactuals import counterfactuals
from musclemap_jax.explain.joints import joint_gradients, skeleton_branches
from musclemap_jax.explain.patches import PatchEvidence, explained_branches, patch_evidence
from musclemap_jax.models.branches import Batch
from musclemap_jax.models.transm3e import TransM3E


class RegionEvidence(NamedTuple):
    """On what a region's logit rests.

    Attributes:
      patches: {branch: its patches}; empty where no branch has patches.
      joint_gradients: (B, V), see `joints.joint_gradients`; None where no branch reads the skeleton.
    """

    patches: dict[str, PatchEvidence]
    joint_gradients: Float[Array, "B V"] | None


@functools.partial(jax.jit, static_argnums=0)
def region_evidence(module: TransM3E, variables: Any, batch: Batch, region: jax.Array | int) -> RegionEvidence:
    """Explains the logit of a region, an index; the same compiled program serves all regions."""
    spec = module.spec
    patches = {name: patch_evidence(module, variables, batch, name, region) for name in explained_branches(spec)}
    gradients = joint_gradients(module, variables, batch, region) if skeleton_branches(spec) else None
    return RegionEvidence(patches, gradients)


jitted_counterfactuals = jax.jit(counterfactuals, static_argnums=0)
