"""Missing frames: a transmission that stalls, where the picture freezes and nobody is found."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.stress.perturbations.perturbation import Perturbation

NUM_PARTS = 20
"""Equal parts of a clip, each of which is missing or not."""


def kept_frames(num_frames: int, fraction: float, rng: np.random.Generator) -> Bool[np.ndarray, " T"]:
    """True for the frames that are there; a higher fraction misses those of a lower one too, and at least one stays."""
    order = rng.permutation(NUM_PARTS)
    part = np.arange(num_frames) * NUM_PARTS // num_frames
    rank = np.argsort(order)[part]
    return rank >= min(round(fraction * NUM_PARTS), rank.max())


def drop_frames(record: ClipRecord, strength: float, rng: np.random.Generator) -> ClipRecord:
    """Leaves out parts of a clip: the video shows the frame before (at the beginning, the first one that is there)."""
    changed = dict(record)
    num_frames = len(record["frames"] if "frames" in record else record["skeleton"])
    kept = kept_frames(num_frames, strength, rng)
    if "frames" in record:
        last = np.maximum.accumulate(np.where(kept, np.arange(num_frames), -1))
        shown = np.where(last < 0, kept.argmax(), last)
        changed["frames"] = [record["frames"][index] for index in shown.tolist()]
    if "skeleton" in record:
        changed["skeleton"] = np.where(kept[:, None, None, None], record["skeleton"], np.float32(0))
    return changed


MISSING_FRAMES = Perturbation(
    name="missing_frames",
    description="Twentieths of the clip that are missing: the video freezes, and no joint is found.",
    unit="fraction of the clip",
    strengths=(0.1, 0.25, 0.5, 0.75),
    modalities=("video", "skeleton"),
    of_record=drop_frames,
)
