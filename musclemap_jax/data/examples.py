"""One clip's record of the prepared data, written into one row of a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from musclemap_jax.data.augmentation import (
    Box,
    augment_poses,
    augment_video,
    centre_crop,
    flip_poses,
    random_crop,
)
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.frames import FrameError, decode_frames, frame_size
from musclemap_jax.data.raw.flow import NO_MOTION
from musclemap_jax.data.sampling import eval_indices, pose_times, source_stride, train_indices
from musclemap_jax.data.skeletons.poses import normalise_poses, sample_poses
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import convert, get_layout


class RandomAccessClips(Protocol):
    """Random access to the records of one split, picklable where worker processes are used.

    A record holds clip_id (str or bytes), muscles (K,) 0/1, and, as far as a modality needs them: fps, frames (a
    sequence of JPEG bytes, one size), flow_x and flow_y (grey ones), skeleton (T, P, V, 3) in pixels of the frames,
    skeleton_layout (str or bytes).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def write_train_example(
    batch: Batch, row: int, record: dict[str, Any], position: int, spec: InputSpec, rng: np.random.Generator
) -> None:
    """Writes one clip, changed at random, into a row of a batch.

    Args:
      batch: of `empty_batch`, with one view; an array of its own for each clip would cost page faults and a copy.
      row: of the batch.
      record: of the prepared data.
      position: of the clip in its split.
      spec: what the model takes.
      rng: the clip's generator; the same state gives the same example.

    Raises:
      UserError: a record that lacks a modality, or a frame that cannot be decoded; names the clip.
    """
    flip = bool(rng.uniform() < spec.augmentation.flip_probability)
    _write_labels(batch, row, record, position)
    if spec.takes_frames:
        images = _images(record, spec)
        indices = train_indices(len(images), spec.num_frames, _stride(record, spec), rng)
        with _named(record):
            box = random_crop(*_size(images, indices), spec.augmentation, rng)
            if "video" in spec.modalities:
                video = batch["video"][row, 0]
                decode_frames(images, indices, box, video)
                augment_video(video, flip, spec.augmentation, rng)
            if "flow" in spec.modalities:
                _write_flow(batch["flow"][row, 0], record, indices, box, flip)
    if "skeleton" in spec.modalities:
        poses = _poses(record, spec, rng)
        if flip:
            poses = flip_poses(poses, get_layout(spec.layout).flip)
        _write_skeleton(batch, row, augment_poses(poses, spec.augmentation, rng))


def write_eval_example(batch: Batch, row: int, record: dict[str, Any], position: int, spec: InputSpec) -> None:
    """Writes one clip in its fixed views and centre crop into a row of a batch; see `write_train_example`."""
    _write_labels(batch, row, record, position)
    if spec.takes_frames:
        images = _images(record, spec)
        indices = eval_indices(len(images), spec.num_frames, _stride(record, spec), spec.num_views).ravel()
        with _named(record):
            box = centre_crop(*_size(images, indices))
            if "video" in spec.modalities:
                video = batch["video"][row]
                decode_frames(images, indices, box, video.reshape(-1, *video.shape[2:], copy=False))
            if "flow" in spec.modalities:
                views = batch["flow"][row]
                _write_flow(views.reshape(-1, *views.shape[2:], copy=False), record, indices, box, flip=False)
    if "skeleton" in spec.modalities:
        _write_skeleton(batch, row, _poses(record, spec, None))


def _write_labels(batch: Batch, row: int, record: dict[str, Any], position: int) -> None:
    batch["muscles"][row] = _field(record, "muscles")
    batch["clip_valid"][row] = True
    batch["clip_index"][row] = position


def _write_skeleton(batch: Batch, row: int, poses: np.ndarray) -> None:
    batch["skeleton"][row] = poses
    batch["skeleton_valid"][row] = (poses[..., 2] > 0).any(axis=-1)


def _images(record: dict[str, Any], spec: InputSpec) -> Sequence[bytes]:
    """The encoded images that decide a clip's length and size."""
    return _field(record, "frames" if "video" in spec.modalities else "flow_x")


def _size(images: Sequence[bytes], indices: np.ndarray) -> tuple[int, int]:
    """(height, width) in pixels of the first of these frames."""
    first = int(indices[0])
    return frame_size(images[first], first)


def _write_flow(flow: np.ndarray, record: dict[str, Any], indices: np.ndarray, box: Box, flip: bool) -> None:
    """Fills (len(indices), H, W, 2) uint8 with the flow of the frames, in their crop.

    The values stay those of the stored size; a flip mirrors places and turns the motion to the right round.
    """
    images = np.empty((*flow.shape[:-1], 3), np.uint8)
    for axis, name in enumerate(("flow_x", "flow_y")):
        decode_frames(_field(record, name), indices, box, images)
        flow[..., axis] = images[..., 0]
    if flip:
        flow[...] = flow[:, :, ::-1].copy()
        flow[..., 0] = np.minimum(2 * NO_MOTION - flow[..., 0].astype(np.int16), 255)


@contextlib.contextmanager
def _named(record: dict[str, Any]) -> Iterator[None]:
    """Names the clip of a frame that cannot be decoded."""
    try:
        yield
    except FrameError as error:
        raise UserError(f"clip {_text(record['clip_id'])}: {error}: prepare the data again") from error


def _stride(record: dict[str, Any], spec: InputSpec) -> float:
    return source_stride(spec.frame_stride, float(_field(record, "fps")), spec.fps)


def _poses(record: dict[str, Any], spec: InputSpec, rng: np.random.Generator | None) -> np.ndarray:
    """(T_s, P, V, 3) normalised poses over the whole clip, or with a generator over a random stretch of it."""
    skeleton = convert(_field(record, "skeleton"), _text(_field(record, "skeleton_layout")), spec.layout)
    times = pose_times(len(skeleton), spec.num_poses, spec.augmentation.pose_span, rng)
    return normalise_poses(*sample_poses(skeleton, times, spec.num_persons))


def _field(record: dict[str, Any], name: str) -> Any:
    if name not in record:
        raise UserError(
            f"prepared data: expected records with {name!r}, got {', '.join(sorted(record))}: "
            "build it with a configuration that has this modality, such as multimodal"
        )
    return record[name]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
