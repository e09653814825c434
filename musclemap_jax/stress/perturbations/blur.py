"""Blur: a camera out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation


def blur(clip: Clip, strength: float, rng: np.random.Generator, spec: InputSpec) -> Clip:
    """Gaussian blur of each frame; its standard deviation is the strength in per cent of the picture's side."""
    del rng, spec
    video = clip["video"]
    sigma_px = strength / 100 * video.shape[-2]
    frames = [cv2.GaussianBlur(frame, (0, 0), sigma_px) for frame in video.reshape(-1, *video.shape[-3:])]
    return {"video": np.stack(frames).reshape(video.shape)}


BLUR = Perturbation(
    name="blur",
    description="Gaussian blur of every frame.",
    unit="standard deviation in % of the picture's side",
    strengths=(2, 4, 8, 16),
    modalities=("video",),
    of_clip=blur,
)
