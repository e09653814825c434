"""What a model takes: the batch, and the specification of the input that makes it.

Letters of shapes: B clips, S views, T frames, H W pixels, T_s poses, P persons, V joints, K muscle regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from musclemap_jax.data.augmentation import AugmentationSpec
from musclemap_jax.data.raw.flow import NO_MOTION
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.taxonomy import NUM_REGIONS

MODALITIES = ("video", "flow", "skeleton")


class Batch(TypedDict, total=False):
    """Arrays of one batch of one process; shapes never change from batch to batch.

    Attributes:
      video: (B, S, T, H, W, 3) uint8 RGB; S is 1 in training. Absent where the model takes no video.
      flow: (B, S, T, H, W, 2) uint8 optical flow of the same frames and crop, to the right and downwards, 128 for no
        motion. Absent where the model takes no flow.
      skeleton: (B, T_s, P, V, 3) float32 x, y relative to the person's centre and size, score in [0, 1]; absent joints
        are all zero. The key is absent where the model takes no skeleton.
      skeleton_valid: (B, T_s, P) bool, True where the person has a joint in that pose; present as `skeleton` is.
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
      frame_stride: distance between them, in frames at `fps`.
      fps: frames a second that `frame_stride` is meant at; 0 counts the clip's own frames, whatever their rate.
      crop_size: H = W, pixels.
      num_views: S in evaluation; training has one view.
      num_poses: T_s, poses over the clip.
      num_persons: P, the most prominent ones of the clip.
      layout: V, the order of joints that the model takes.
      modalities: any of "video", "flow", "skeleton"; what is not named is neither decoded nor in the batch.
      augmentation: random changes in training.
    """

    num_frames: int = 16
    frame_stride: float = 4
    fps: float = 0.0
    crop_size: int = 224
    num_views: int = 1
    num_poses: int = 64
    num_persons: int = 2
    layout: str = "coco19"
    modalities: Sequence[str] = ("video", "skeleton")
    augmentation: AugmentationSpec = field(default_factory=AugmentationSpec)

    def __post_init__(self) -> None:
        """Raises UserError for a field that is impossible."""
        object.__setattr__(self, "modalities", tuple(self.modalities))
        if not self.modalities or not set(self.modalities) <= set(MODALITIES):
            raise UserError(f"input.modalities: expected some of {', '.join(MODALITIES)}, got {self.modalities}")
        for name in ("num_frames", "crop_size", "num_views", "num_poses", "num_persons"):
            if getattr(self, name) < 1:
                raise UserError(f"input.{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.frame_stride < math.inf:
            raise UserError(f"input.frame_stride: expected a number above 0, got {self.frame_stride}")
        if not 0 <= self.fps < math.inf:
            raise UserError(f"input.fps: expected 0 (the clip's own frames) or more, got {self.fps}")
        get_layout(self.layout)

    @property
    def takes_frames(self) -> bool:
        """Whether something is made of single frames, so that some have to be chosen and cropped."""
        return "video" in self.modalities or "flow" in self.modalities


def empty_batch(spec: InputSpec, num_rows: int, num_padding: int = 0, num_views: int = 1) -> Batch:
    """A batch whose last rows are padding and whose other rows are to be written: their video is not initialised.

    Args:
      spec: what the model takes.
      num_rows: B.
      num_padding: rows at the end that stay zeros.
      num_views: S.
    """
    batch: Batch = {
        "muscles": np.zeros((num_rows, NUM_REGIONS), np.float32),
        "clip_valid": np.zeros(num_rows, np.bool_),
        "clip_index": np.zeros(num_rows, np.int32),
    }
    if "video" in spec.modalities:
        shape = (num_rows, num_views, spec.num_frames, spec.crop_size, spec.crop_size, 3)
        batch["video"] = np.empty(shape, np.uint8)  # zeros would cost 4 KiB pages where this gets huge ones
        batch["video"][num_rows - num_padding :] = 0
    if "flow" in spec.modalities:
        shape = (num_rows, num_views, spec.num_frames, spec.crop_size, spec.crop_size, 2)
        batch["flow"] = np.full(shape, NO_MOTION, np.uint8)
    if "skeleton" in spec.modalities:
        poses = (num_rows, spec.num_poses, spec.num_persons)
        batch["skeleton"] = np.zeros((*poses, get_layout(spec.layout).num_joints, 3), np.float32)
        batch["skeleton_valid"] = np.zeros(poses, np.bool_)
    return batch
