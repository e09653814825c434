"""Camera tilt: the picture and the joints rolled about the image's centre, by the same angle."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import UInt8

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.stress.perturbations.image_plane import Map, map_poses, map_vectors
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation


def rotation(degrees: float) -> Map:
    """The linear map that rotates clockwise as seen in the picture, where y is downwards."""
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def rotate_frames(frames: UInt8[np.ndarray, "*views H W C"], degrees: float) -> UInt8[np.ndarray, "*views H W C"]:
    """Rotates frames clockwise about their centre; corners are filled by reflection, so that no black edge appears."""
    height, width = frames.shape[-3:-1]
    centre = np.array([width - 1, height - 1]) / 2
    linear = rotation(degrees)
    affine = np.column_stack([linear, centre - linear @ centre])
    rotated = [
        cv2.warpAffine(frame, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        for frame in frames.reshape(-1, *frames.shape[-3:])
    ]
    return np.stack(rotated).reshape(frames.shape)


def tilt(clip: Clip, strength: float, rng: np.random.Generator, spec: InputSpec) -> Clip:
    """Rolls frames, flow and joints clockwise by the strength in degrees."""
    del rng, spec
    changed = {name: rotate_frames(clip[name], strength) for name in ("video", "flow") if name in clip}
    if "flow" in changed:
        changed["flow"] = map_vectors(changed["flow"], rotation(strength))
    if "skeleton" in clip:
        changed["skeleton"] = map_poses(clip["skeleton"], rotation(strength))
    return changed


TILT = Perturbation(
    name="tilt",
    description="The camera rolled: video and joints are rotated clockwise about the image's centre.",
    unit="degrees",
    strengths=(10, 20, 45, 90),
    modalities=("video", "flow", "skeleton"),
    of_clip=tilt,
)
