"""Joint noise: a pose estimator that is off by a fraction of the trunk's length, independently in every frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from musclemap_jax.data.modalities.fields import ClipRecord, field_of, text
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.stress.perturbations.perturbation import Perturbation

_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_TRUNK_OF_BODY = 0.29
"""Hip to shoulder as a fraction of a standing person's height (Winter, "Biomechanics and Motor Control of Human
Movement": shoulder at 0.818, hip at 0.530 of the height)."""


def trunk_lengths(joints: Float[np.ndarray, "T P V 3"], layout: str) -> Float[np.ndarray, " P"]:
    """Each person's trunk length in the unit of the joints: the median over frames of mid-hip to mid-shoulder.

    A person whose trunk is never seen whole has 0.29 of the longest side of the box around the joints, the median over
    frames; one without any joint has 0.
    """
    names = get_layout(layout).joints
    trunk = [names.index(name) for name in _TRUNK]
    lengths = np.zeros(joints.shape[1], np.float32)
    for person in range(joints.shape[1]):
        poses = joints[:, person]
        whole = poses[(poses[:, trunk, 2] > 0).all(axis=1)][:, trunk, :2]
        seen = poses[(poses[..., 2] > 0).any(axis=1)]
        if len(whole):
            trunks = whole[:, :2].mean(axis=1) - whole[:, 2:].mean(axis=1)
            lengths[person] = np.median(np.linalg.norm(trunks, axis=-1))
        elif len(seen):
            sides = [np.ptp(pose[pose[:, 2] > 0, :2], axis=0).max() for pose in seen]
            lengths[person] = _TRUNK_OF_BODY * np.median(sides)
    return lengths


def add_joint_noise(record: ClipRecord, strength: float, rng: np.random.Generator) -> ClipRecord:
    """Adds Gaussian noise to x and y; its standard deviation is the strength times the person's trunk length."""
    joints = field_of(record, "skeleton")
    deviation = strength * trunk_lengths(joints, text(field_of(record, "skeleton_layout")))
    noise = rng.standard_normal((*joints.shape[:-1], 2), dtype=np.float32) * deviation[None, :, None, None]
    places = np.where(joints[..., 2:] > 0, joints[..., :2] + noise, joints[..., :2])
    return record | {"skeleton": np.concatenate([places, joints[..., 2:]], axis=-1, dtype=np.float32)}


JOINT_NOISE = Perturbation(
    name="joint_noise",
    description="Gaussian noise on x and y of every joint, independent from frame to frame; scores stay.",
    unit="standard deviation in trunk lengths",
    strengths=(0.1, 0.2, 0.4, 0.8),
    modalities=("skeleton",),
    of_record=add_joint_noise,
)
