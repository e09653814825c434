"""A batch and its rows: each row is one clip's record of the prepared data."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np

from musclemap_jax.data.augmentation import fixed_crops, random_crop
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.frames import FrameError, frame_size
from musclemap_jax.data.modalities import batch_modalities
from musclemap_jax.data.modalities.fields import ClipRecord, field_of, text
from musclemap_jax.data.modalities.modality import ClipDraw
from musclemap_jax.data.rand_augment import draw_operations
from musclemap_jax.data.sampling import eval_indices, source_stride, train_indices
from musclemap_jax.errors import UserError


class RandomAccessClips(Protocol):
    """Random access to the records of one split; picklable where worker processes are used.

    A record holds the common fields but for ``activity``, and the fields of the modalities that the model takes.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ClipRecord: ...


def empty_batch(spec: InputSpec, num_rows: int, num_padding: int = 0, num_views: int = 1) -> Batch:
    """A batch whose last `num_padding` rows stay empty: zeros, and flow without motion.

    The other rows are still to be written and may hold anything. Raises UserError for an unknown modality.
    """
    batch: dict[str, Any] = {
        "muscles": np.zeros((num_rows, spec.num_regions), np.float32),
        "clip_valid": np.zeros(num_rows, np.bool_),
        "clip_index": np.zeros(num_rows, np.int32),
    }
    for modality in batch_modalities(spec):
        batch |= modality.arrays(spec, num_rows, num_padding, num_views)
    return cast(Batch, batch)


def write_example(
    batch: Batch,
    row: int,
    record: ClipRecord,
    position: int,
    spec: InputSpec,
    rng: np.random.Generator | None = None,
) -> None:
    """Writes the clip at a position of its split into a row of a batch from `empty_batch`, with one view in training.

    Arrays of its own for each clip would cost page faults and a copy. In training, `rng` is the clip's generator, whose
    state decides the augmentation; None writes the fixed views and crops. Raises UserError, naming the clip, if
    the record lacks a modality or a frame cannot be decoded.
    """
    muscles = field_of(record, "muscles")
    if len(muscles) != spec.num_regions:
        raise UserError(f"prepared data: expected labels of {spec.num_regions} muscle regions, got {len(muscles)}")
    batch["muscles"][row] = muscles
    batch["clip_valid"][row] = True
    batch["clip_index"][row] = position
    try:
        draw = clip_draw(record, spec, rng)
        for modality in batch_modalities(spec):
            modality.write(batch, row, record, spec, draw)
    except FrameError as error:
        raise UserError(
            f"clip {text(record['clip_id'])}: {error}: delete the prepared data and prepare it again"
        ) from error


def clip_draw(record: ClipRecord, spec: InputSpec, rng: np.random.Generator | None = None) -> ClipDraw:
    """Time and geometry of the clip's views: drawn at random, or the fixed ones where there is no generator."""
    flip = rng is not None and bool(rng.uniform() < spec.augmentation.flip_probability)
    frames_field = next((modality.frames_field for modality in batch_modalities(spec) if modality.frames_field), None)
    if frames_field is None:
        return ClipDraw(flip=flip, rng=rng)
    images = field_of(record, frames_field)
    stride = source_stride(spec.frame_stride, float(field_of(record, "fps")), spec.fps)
    if rng is None:
        views = eval_indices(len(images), spec.num_frames, stride, spec.num_views).ravel()
        indices = np.tile(views, spec.num_crops)
    else:
        indices = train_indices(len(images), spec.num_frames, stride, rng)
    first = int(indices[0])
    height, width = frame_size(images[first], first)
    if rng is None:
        return ClipDraw(indices, fixed_crops(height, width, spec.num_crops))
    box = random_crop(height, width, spec.augmentation, rng)
    return ClipDraw(indices, (box,), flip, draw_operations(spec.augmentation.rand_augment, rng), rng)
