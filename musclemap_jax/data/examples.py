"""One clip's record of the prepared data as one row of a batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from musclemap_jax.data.augmentation import (
    augment_poses,
    augment_video,
    centre_crop,
    flip_poses,
    random_crop,
)
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.frames import FrameError, decode_frames, frame_size
from musclemap_jax.data.sampling import eval_indices, pose_times, source_stride, train_indices
from musclemap_jax.data.skeleton import fixed_skeleton, normalise
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import convert, get_layout
from musclemap_jax.taxonomy import NUM_REGIONS


class RandomAccessClips(Protocol):
    """Random access to the records of one split, picklable where worker processes are used.

    A record holds clip_id (str or bytes), muscles (K,) 0/1, and, as far as a modality needs them: fps, frames (a
    sequence of JPEG bytes, one size), skeleton (T, P, V, 3) in pixels of the frames, skeleton_layout (str or bytes).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def train_example(record: dict[str, Any], position: int, spec: InputSpec, rng: np.random.Generator) -> Batch:
    """One clip, changed at random, as a batch without its first axis.

    Args:
      record: of the prepared data.
      position: of the clip in its split.
      spec: what the model takes.
      rng: the clip's generator; the same state gives the same example.

    Raises:
      UserError: a record that lacks a modality, or a frame that cannot be decoded; names the clip.
    """
    flip = bool(rng.uniform() < spec.augmentation.flip_probability)
    example = _labels(record, position)
    if "video" in spec.modalities:
        indices = train_indices(len(_field(record, "frames")), spec.num_frames, _stride(record, spec), rng)
        video = augment_video(_crop(record, indices, spec, rng), flip, spec.augmentation, rng)
        example["video"] = video[None]
    if "skeleton" in spec.modalities:
        poses = _poses(record, spec, rng)
        if flip:
            poses = flip_poses(poses, get_layout(spec.layout).flip)
        example |= _skeleton(augment_poses(poses, spec.augmentation, rng))
    return example


def eval_example(record: dict[str, Any], position: int, spec: InputSpec) -> Batch:
    """One clip in its fixed views and centre crop, as a batch without its first axis; see `train_example`."""
    example = _labels(record, position)
    if "video" in spec.modalities:
        stride = _stride(record, spec)
        indices = eval_indices(len(_field(record, "frames")), spec.num_frames, stride, spec.num_views)
        video = _crop(record, indices.ravel(), spec, None)
        example["video"] = video.reshape(*indices.shape, *video.shape[1:])
    if "skeleton" in spec.modalities:
        example |= _skeleton(_poses(record, spec, None))
    return example


def padding_example(spec: InputSpec) -> Batch:
    """A row of zeros, clip_valid False, of the shapes of `eval_example`."""
    example = {
        "muscles": np.zeros(NUM_REGIONS, np.float32),
        "clip_valid": np.zeros((), np.bool_),
        "clip_index": np.zeros((), np.int32),
    }
    if "video" in spec.modalities:
        shape = (spec.num_views, spec.num_frames, spec.crop_size, spec.crop_size, 3)
        example["video"] = np.zeros(shape, np.uint8)
    if "skeleton" in spec.modalities:
        shape = (spec.num_poses, spec.num_persons, get_layout(spec.layout).num_joints, 3)
        example |= _skeleton(np.zeros(shape, np.float32))
    return example


def _labels(record: dict[str, Any], position: int) -> Batch:
    return {
        "muscles": np.asarray(_field(record, "muscles"), np.float32),
        "clip_valid": np.ones((), np.bool_),
        "clip_index": np.asarray(position, np.int32),
    }


def _skeleton(poses: np.ndarray) -> Batch:
    return {"skeleton": poses, "skeleton_valid": (poses[..., 2] > 0).any(axis=-1)}


def _stride(record: dict[str, Any], spec: InputSpec) -> float:
    return source_stride(spec.frame_stride, float(_field(record, "fps")), spec.fps)


def _crop(record: dict[str, Any], indices: np.ndarray, spec: InputSpec, rng: np.random.Generator | None) -> np.ndarray:
    """(len(indices), H, W, 3) uint8 of a random crop, or without a generator of the centre."""
    jpegs = record["frames"]
    try:
        size = frame_size(jpegs, int(indices[0]))
        box = centre_crop(*size) if rng is None else random_crop(*size, spec.augmentation, rng)
        return decode_frames(jpegs, indices, box, spec.crop_size)
    except FrameError as error:
        raise UserError(f"clip {_text(record['clip_id'])}: {error}: prepare the data again") from error


def _poses(record: dict[str, Any], spec: InputSpec, rng: np.random.Generator | None) -> np.ndarray:
    """(T_s, P, V, 3) normalised poses over the whole clip, or with a generator over a random stretch of it."""
    skeleton = convert(_field(record, "skeleton"), _text(_field(record, "skeleton_layout")), spec.layout)
    times = pose_times(len(skeleton), spec.num_poses, spec.augmentation.pose_span, rng)
    return normalise(*fixed_skeleton(skeleton, times, spec.num_persons))


def _field(record: dict[str, Any], name: str) -> Any:
    if name not in record:
        raise UserError(
            f"prepared data: expected records with {name!r}, got {', '.join(sorted(record))}: "
            "build it with a configuration that has this modality, such as multimodal"
        )
    return record[name]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
