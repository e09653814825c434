"""The batch that a model takes, and the specification of the input that makes it.

Letters of shapes: B clips, S views, T frames, H W pixels, T_s poses, P persons, V joints, K muscle regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from musclemap_jax.data.augmentation import AugmentationSpec
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.taxonomy import NUM_REGIONS


class Batch(TypedDict, total=False):
    """Arrays of one batch of one process; shapes never change from batch to batch.

    The keys of a modality are absent where the model does not take it.

    Attributes:
      video: (B, S, T, H, W, 3) uint8 RGB; S is 1 in training; in evaluation crop by crop, of each its views in time.
      flow: (B, S, T, H, W, 2) uint8 optical flow of the same frames and crop, to the right and downwards; 128 is no
        motion.
      skeleton: (B, T_s, P, V, 3) float32 x, y relative to the person's centre and size, score in [0, 1]; absent joints
        are all zero.
      skeleton_valid: (B, T_s, P) bool, True where the person has a joint in that pose.
      muscles: (B, K) float32, 1 for an active region, else 0.
      clip_valid: (B,) bool, True for a clip, False for padding (rows of zeros; evaluation only).
      clip_index: (B,) int32 position of the clip in its split; 0 in padding.
    """

    video: np.ndarray
    flow: np.ndarray
    skeleton: np.ndarray
    skeleton_valid: np.ndarray
    muscles: np.ndarray
    clip_valid: np.ndarray
    clip_index: np.ndarray


@dataclass(frozen=True)
class InputSpec:
    """What a model takes.

    Attributes:
      num_frames: T, frames of one view.
      frame_stride: Distance between them, in frames at `fps`.
      fps: Frame rate at which `frame_stride` counts; 0 counts the clip's own frames, whatever their rate.
      crop_size: H = W, pixels.
      num_views: Views in time in evaluation; training has one view.
      num_crops: Crops of each view in evaluation, so that S is num_views * num_crops.
      num_poses: T_s, poses over the clip.
      num_persons: P, the most prominent persons of the clip.
      layout: Order of the V joints that the model takes.
      modalities: Names of `modalities.BATCH_MODALITIES`; the others are neither decoded nor in the batch.
      num_regions: K, muscle regions that the clips are labelled with.
      augmentation: Random augmentation in training.
    """

    num_frames: int = 16
    frame_stride: float = 4
    fps: float = 0.0
    crop_size: int = 224
    num_views: int = 1
    num_crops: int = 1
    num_poses: int = 64
    num_persons: int = 2
    layout: str = "coco19"
    modalities: Sequence[str] = ("video", "skeleton")
    num_regions: int = NUM_REGIONS
    augmentation: AugmentationSpec = field(default_factory=AugmentationSpec)

    def __post_init__(self) -> None:
        """Raises UserError for a field that is impossible."""
        object.__setattr__(self, "modalities", tuple(self.modalities))
        if not self.modalities:
            raise UserError("input.modalities: expected at least one modality, got none")
        for name in ("num_frames", "crop_size", "num_views", "num_crops", "num_poses", "num_persons", "num_regions"):
            if getattr(self, name) < 1:
                raise UserError(f"input.{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.frame_stride < math.inf:
            raise UserError(f"input.frame_stride: expected a number above 0, got {self.frame_stride}")
        if not 0 <= self.fps < math.inf:
            raise UserError(f"input.fps: expected 0 (the clip's own frames) or more, got {self.fps}")
        get_layout(self.layout)

    @property
    def views_per_clip(self) -> int:
        """S in evaluation."""
        return self.num_views * self.num_crops
