"""Darkness: less light on the same sensor."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.stress.perturbations.perturbation import Clip, Perturbation


def dimmed(stops: float) -> UInt8[np.ndarray, " 256"]:
    """8-bit sRGB value -> the value at 2^-stops of the light (IEC 61966-2-1 defines the transfer function)."""
    values = np.arange(256) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) * 2.0**-stops
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def darken(clip: Clip, strength: float, rng: np.random.Generator, spec: InputSpec) -> Clip:
    """Divides the light by two as many times as the strength says; 8 bits round the dark values away."""
    del rng, spec
    video = clip["video"]
    rows = np.ascontiguousarray(video).reshape(-1, video.shape[-2] * 3)
    return {"video": cv2.LUT(rows, dimmed(strength)).reshape(video.shape)}


DARKNESS = Perturbation(
    name="darkness",
    description="Less light: linear intensity is divided, then encoded as sRGB again.",
    unit="stops (halvings of the light)",
    strengths=(1, 2, 4, 6),
    modalities=("video",),
    of_clip=darken,
)
