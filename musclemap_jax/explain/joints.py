"""Which joints a region's score rests on: by its gradient, and by leaving joints out.

Both are about the branches that read the skeleton. An importance by gradient is how much the logit changes with the
place of a joint, in any direction, summed over the poses and persons; by occlusion it is how much the logit falls when
the joint is absent from every pose. The places of the other joints stay as they are: they are not normalised again, and
the neck and the pelvis, which are derived from shoulders and hips, do not move.

Letters of shapes: B clips, T poses, P persons, V joints, K muscle regions, N sets of joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from musclemap_jax.models.branches import BRANCHES, Batch
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import ModelSpec, TransM3E

SKELETON = "skeleton"


def skeleton_branches(spec: ModelSpec) -> tuple[str, ...]:
    """Branches with a head that read the skeleton."""
    return tuple(name for name in spec.weights if BRANCHES[name].modality == SKELETON)


def joint_gradients(module: TransM3E, variables: Any, batch: Batch, region: jax.Array | int) -> Float[Array, "B V"]:
    """Length of the gradient of the region's logit with respect to each joint's place, summed over poses and persons.

    The unit is logits per size of the person; 0 for a joint that is absent.
    """

    def score(places: jax.Array) -> jax.Array:
        moved = jnp.concatenate([places, scores], axis=-1)
        return _skeleton_logits(module, variables, {**batch, SKELETON: moved})[:, region].sum()

    skeleton = jnp.asarray(batch[SKELETON])
    places, scores = skeleton[..., :2], skeleton[..., 2:]
    gradient = jnp.where(scores > 0, jax.grad(score)(places), 0)
    squares = jnp.square(gradient).sum(-1)
    # The root of 0 has no gradient, but nobody asks for it.
    return jnp.sqrt(squares).sum((1, 2))


def logits_without(
    module: TransM3E, variables: Any, batch: Batch, absent: Bool[Array, "N V"]
) -> tuple[dict[str, Float[Array, "N B K"]], dict[str, Bool[Array, "N B"]]]:
    """Runs the branches that read the skeleton where a set of joints is absent from every pose.

    Args:
      module: The model.
      variables: Its variables.
      batch: What the branches read.
      absent: True for the joints that are left out.

    Returns:
      {branch: its logits}, and {branch: whether it still sees anybody}.
    """
    num_sets, num_clips = absent.shape[0], batch[SKELETON].shape[0]
    # The branches that do not read the skeleton are traced on these arrays and left out by the compiler.
    tiled = {name: jnp.broadcast_to(value, (num_sets, *value.shape)) for name, value in batch.items()}
    skeleton = jnp.where(absent[:, None, None, None, :, None], 0, tiled[SKELETON])
    seen = (skeleton[..., 2] > 0).any(-1)
    tiled |= {SKELETON: skeleton, "skeleton_valid": tiled["skeleton_valid"] & seen}
    rows = {name: value.reshape(num_sets * num_clips, *value.shape[2:]) for name, value in tiled.items()}
    logits, present = _branch_logits(module, variables, rows), module.present(rows)
    branches = skeleton_branches(module.spec)
    return (
        {name: logits[name].reshape(num_sets, num_clips, -1) for name in branches},
        {name: present[name].reshape(num_sets, num_clips) for name in branches if name in present},
    )


def _skeleton_logits(module: TransM3E, variables: Any, batch: Batch) -> Float[Array, "B K"]:
    """The answer of the branches that read the skeleton."""
    logits = _branch_logits(module, variables, batch)
    nothing = jnp.zeros(batch[SKELETON].shape[0], bool)
    others = dict.fromkeys(set(module.spec.weights) - set(skeleton_branches(module.spec)), nothing)
    return module.combine(logits, others)


def _branch_logits(module: TransM3E, variables: Any, batch: Batch) -> Mapping[str, jax.Array]:
    return cast(ModelOutput, module.apply(variables, batch, train=False)).branch_logits
