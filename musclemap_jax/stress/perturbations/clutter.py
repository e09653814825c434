"""Clutter: things between the camera and the person, which stand still.

The joints stay: `missing_joints` and `joint_noise` are what hidden parts do to a pose estimator.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation

CELLS = 8
"""Cells of the picture along each side, which are covered whole."""


def clutter(clip: Clip, strength: float, rng: np.random.Generator, spec: InputSpec) -> Clip:
    """Covers a fraction of the picture with cells of random colours, the same ones in every frame and view."""
    del spec
    video = clip["video"].copy()
    height, width = video.shape[-3:-1]
    rows, columns = (np.rint(np.linspace(0, side, CELLS + 1)).astype(int) for side in (height, width))
    order = rng.permutation(CELLS**2)
    colours = rng.integers(0, 256, (CELLS**2, 3), dtype=np.uint8)
    for cell in order[: round(strength * CELLS**2)].tolist():
        row, column = divmod(cell, CELLS)
        video[..., rows[row] : rows[row + 1], columns[column] : columns[column + 1], :] = colours[cell]
    return {"video": video}


CLUTTER = Perturbation(
    name="clutter",
    description="Opaque patches of random colours over the video, an eighth of its side each; they do not move.",
    unit="fraction of the picture",
    strengths=(0.1, 0.25, 0.5, 0.75),
    modalities=("video",),
    of_clip=clutter,
)
