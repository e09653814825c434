"""What a perturbation is: a way in which a clip gets worse, at increasing strengths.

A perturbation changes either the record of a clip, before frames and poses are sampled from it, or what the pipeline
has made of it. The first is what a camera or a pose estimator would have delivered: joints are in pixels and in the
detector's own layout, and sampling, interpolation and normalisation follow. The second costs no decoding.

What is random is drawn from the seed, the perturbation and the clip's id, not from the strength: a stronger
perturbation of a clip is more of the same one, so that curves are smooth. Host code: NumPy and OpenCV, no JAX.

Letters of shapes: S views, T frames, H W pixels, T_s poses, P persons, V joints.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.modalities.fields import ClipRecord

Clip = dict[str, np.ndarray]
"""A clip of an evaluation's batch by modality, without the batch's first axis.

`video` (S, T, H, W, 3) uint8, `flow` (S, T, H, W, 2) uint8 and `skeleton` (T_s, P, V, 3) float32 as in
`data.batch.Batch`.
"""
OfRecord = Callable[[ClipRecord, float, np.random.Generator], ClipRecord]
OfClip = Callable[[Clip, float, np.random.Generator, InputSpec], Clip]


@dataclass(frozen=True)
class Perturbation:
    """A way in which a clip gets worse.

    Exactly one of the two functions is given. Neither changes its arguments; a clip and its record hold only some of
    the modalities, by what the model reads and the data stores.

    Attributes:
      name: Its key in `PERTURBATIONS`.
      description: What it does, in one sentence.
      unit: What a strength counts.
      strengths: The tested strengths, above 0 and increasing; 0 is the clip as it is.
      modalities: The modalities that it changes; a branch that reads none of them answers as before, exactly.
      of_record: (record, strength, generator) -> the changed record.
      of_clip: (clip, strength, generator, input specification) -> the changed arrays by modality; only those of the
        perturbation's own modalities are given.
    """

    name: str
    description: str
    unit: str
    strengths: tuple[float, ...]
    modalities: tuple[str, ...]
    of_record: OfRecord | None = None
    of_clip: OfClip | None = None

    def __post_init__(self) -> None:
        """Raises ValueError unless there is one function and the strengths increase from above 0."""
        if (self.of_record is None) == (self.of_clip is None):
            raise ValueError(f"perturbation {self.name}: expected either of_record or of_clip")
        if not self.strengths or list(self.strengths) != sorted({*self.strengths, 0.0})[1:]:
            raise ValueError(f"perturbation {self.name}: expected strengths above 0, increasing, got {self.strengths}")


def clip_generator(seed: int, perturbation: str, clip_id: str) -> np.random.Generator:
    """The generator of what is random in a perturbation of a clip, the same for all of its strengths."""
    return np.random.default_rng([seed, zlib.crc32(perturbation.encode()), zlib.crc32(clip_id.encode())])
