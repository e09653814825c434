"""Frame rate: the same motion, recorded at fewer frames per second.

How much a model notices depends on `input.fps`. If it is set, the frames of a view stay as far apart in seconds, as
long as there are enough of them; at 0, views count the clip's own frames, and see the motion faster.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.stress.perturbations.perturbation import Perturbation


def lower_frame_rate(record: ClipRecord, strength: float, rng: np.random.Generator) -> ClipRecord:
    """Halves the frame rate as many times as the strength says, from the first frame on."""
    del rng
    step = 2.0**strength
    changed = record | {"fps": record["fps"] / step}
    for name in ("frames", "skeleton"):
        if name in record:
            kept = np.arange(0, len(record[name]), step).astype(int)
            is_array = isinstance(record[name], np.ndarray)
            changed[name] = record[name][kept] if is_array else [record[name][index] for index in kept.tolist()]
    return changed


FRAME_RATE = Perturbation(
    name="frame_rate",
    description="The clip at a lower frame rate; poses between its frames are interpolated.",
    unit="halvings of the frame rate",
    strengths=(1, 2, 3, 4),
    modalities=("video", "skeleton"),
    of_record=lower_frame_rate,
)
