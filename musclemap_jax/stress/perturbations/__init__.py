"""The perturbations of the stress test, in one table."""

from __future__ import annotations

from musclemap_jax.stress.perturbations.blur import BLUR
from musclemap_jax.stress.perturbations.clutter import CLUTTER
from musclemap_jax.stress.perturbations.darkness import DARKNESS
from musclemap_jax.stress.perturbations.frame_rate import FRAME_RATE
from musclemap_jax.stress.perturbations.joint_noise import JOINT_NOISE
from musclemap_jax.stress.perturbations.mirror import MIRROR
from musclemap_jax.stress.perturbations.missing_frames import MISSING_FRAMES
from musclemap_jax.stress.perturbations.missing_joints import MISSING_JOINTS
from musclemap_jax.stress.perturbations.perturbation import Perturbation
from musclemap_jax.stress.perturbations.tilt import TILT

PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        JOINT_NOISE,
        MISSING_JOINTS,
        MISSING_FRAMES,
        FRAME_RATE,
        MIRROR,
        TILT,
        BLUR,
        DARKNESS,
        CLUTTER,
    )
}
"""Perturbations by name, in the order of tables and pages; a configuration's file may add its own."""
