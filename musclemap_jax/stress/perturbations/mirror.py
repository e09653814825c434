"""Mirror: left and right exchanged, as in training's augmentation."""

from __future__ import annotations

import numpy as np

from musclemap_jax.data.augmentation import flip_poses
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.stress.perturbations.image_plane import map_vectors
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation

_MIRROR = np.diag([-1.0, 1.0])


def mirror(clip: Clip, strength: float, rng: np.random.Generator, spec: InputSpec) -> Clip:
    """Mirrors frames, the direction of flow, and joints, whose left and right are exchanged."""
    del strength, rng
    changed = {name: clip[name][..., ::-1, :] for name in ("video", "flow") if name in clip}
    if "flow" in changed:
        changed["flow"] = map_vectors(changed["flow"], _MIRROR)
    if "skeleton" in clip:
        changed["skeleton"] = flip_poses(clip["skeleton"], get_layout(spec.layout).flip)
    return changed


MIRROR = Perturbation(
    name="mirror",
    description="Left and right exchanged, in the video and in the joints.",
    unit="1 = mirrored",
    strengths=(1,),
    modalities=("video", "flow", "skeleton"),
    of_clip=mirror,
)
