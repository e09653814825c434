"""What a model would have answered without one of its modalities, or without some joints.

Letters of shapes: B clips, V joints, K muscle regions, N sets of joints.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from musclemap_jax.explain.joints import logits_without, skeleton_branches
from musclemap_jax.models.branches import BRANCHES, Batch
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import ModelSpec, TransM3E


class Counterfactuals(NamedTuple):
    """Logits of the whole model.

    Attributes:
      without_modality: {modality: (B, K)}; empty for a model of one modality.
      without_joints: (N, B, K), each set of joints absent from every pose.
      skeleton_falls: (N, B, K), by how much the logits of the skeleton's branches alone fall.
    """

    without_modality: dict[str, Float[Array, "B K"]]
    without_joints: Float[Array, "N B K"]
    skeleton_falls: Float[Array, "N B K"]


def speaking_modalities(spec: ModelSpec) -> tuple[str, ...]:
    """Modalities of the branches that have a head."""
    return tuple(dict.fromkeys(BRANCHES[name].modality for name in spec.weights))


def counterfactuals(
    module: TransM3E, variables: Any, output: ModelOutput, batch: Batch, absent: Bool[Array, "N V"] | None = None
) -> Counterfactuals:
    """Answers for the clip without parts of it.

    Args:
      module: The model.
      variables: Its variables.
      output: What the model says of the batch; only the branches that read the skeleton are run again.
      batch: What the branches read.
      absent: True for the joints that are left out; of no use, and None, for a model that reads no skeleton.
    """
    modalities, nothing = speaking_modalities(module.spec), jnp.zeros(output.logits.shape[0], bool)
    without_modality = {}
    for modality in modalities if len(modalities) > 1 else ():
        silent = dict.fromkeys(_branches_of(module.spec, modality), nothing)
        without_modality[modality] = module.combine(output.branch_logits, {**output.present, **silent})
    if absent is None or not skeleton_branches(module.spec):
        no_sets = jnp.zeros((0, *output.logits.shape))
        return Counterfactuals(without_modality, no_sets, no_sets)
    changed, present = logits_without(module, variables, batch, absent)
    others = dict.fromkeys(set(module.spec.weights) - set(changed), nothing)

    def combined(logits: dict[str, jax.Array], present: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        everything = {**output.branch_logits, **logits}
        return module.combine(everything, {**output.present, **present}), module.combine(everything, others)

    _, skeleton_alone = combined({}, {})
    without_joints, skeleton_without = jax.vmap(combined)(changed, present)
    return Counterfactuals(without_modality, without_joints, skeleton_alone[None] - skeleton_without)


def _branches_of(spec: ModelSpec, modality: str) -> tuple[str, ...]:
    return tuple(name for name in spec.weights if BRANCHES[name].modality == modality)
