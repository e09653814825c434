"""Missing joints: joints that are hidden or out of the picture for the whole clip."""

from __future__ import annotations

import numpy as np

from musclemap_jax.data.modalities.fields import ClipRecord, field_of
from musclemap_jax.stress.perturbations.perturbation import Perturbation


def drop_joints(record: ClipRecord, strength: float, rng: np.random.Generator) -> ClipRecord:
    """Makes a fraction of each person's joints absent in all frames; those of a lower fraction are among them."""
    joints = field_of(record, "skeleton").copy()
    _, num_persons, num_joints, _ = joints.shape
    order = rng.permuted(np.tile(np.arange(num_joints), (num_persons, 1)), axis=1)
    for person, dropped in enumerate(order[:, : round(strength * num_joints)]):
        joints[:, person, dropped] = 0
    return record | {"skeleton": joints}


MISSING_JOINTS = Perturbation(
    name="missing_joints",
    description="Joints that are absent in the whole clip, drawn for each person.",
    unit="fraction of the joints",
    strengths=(0.1, 0.25, 0.5, 0.75),
    modalities=("skeleton",),
    of_record=drop_joints,
)
