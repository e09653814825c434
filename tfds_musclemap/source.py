"""Random access to the prepared clips with their frames still as JPEG bytes.

TFDS's own data source decodes every frame of a record; training needs a few of each. This one reads the same
ArrayRecord files and protos, and leaves the frames as they are stored.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from tensorflow_datasets.proto import tf_example_pb2

from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from tfds_musclemap.build.build_log import StoredClip, read_stored_clips


class ClipRecord(TypedDict, total=False):
    """A prepared clip; keys of modalities that the builder config does not store are absent.

    clip_id, activity, skeleton_layout: str; muscles: (K,) uint8, 0 or 1; fps: float;
    frames: T JPEG images (RGB, one size), bytes each; rgb_diff: T PNG images; flow_x, flow_y: T grey JPEG images (all
    copied out of the record when they are asked for); flow_scale: (2,) float32, pixels a frame of one 8-bit step;
    skeleton: (T, P, V, 3) float32, read-only: x, y in pixels of the frames, score; absent joints are zero; P >= 1.
    """

    clip_id: str
    activity: str
    muscles: np.ndarray
    fps: float
    frames: Sequence[bytes]
    rgb_diff: Sequence[bytes]
    flow_x: Sequence[bytes]
    flow_y: Sequence[bytes]
    flow_scale: np.ndarray
    skeleton: np.ndarray
    skeleton_layout: str


IMAGE_FEATURES = ("frames", "rgb_diff", "flow_x", "flow_y")
"""Features that are lists of one encoded image a frame."""


class ClipSource(Sequence[ClipRecord]):
    """The clips of one split. Can be pickled: a worker process opens the files itself.

    Attributes:
      split: name of the split.
      folder: of the prepared data (its version).
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        """
        Args:
          folder: of the prepared data, such as ``<data_dir>/musclemap/synthetic/2.0.0``.
          split: one of the data set's splits.

        Raises:
          UserError: no prepared data there, or no clips in the split.
        """
        self.folder = Path(folder)
        self.split = split
        if not (self.folder / "dataset_info.json").is_file():
            raise UserError(f"{self.folder}: expected a prepared data set, found none: run tfds_musclemap.prepare")
        splits = tfds.builder_from_directory(self.folder).info.splits
        if split not in splits or not splits[split].num_examples:
            known = ", ".join(name for name in splits if splits[name].num_examples)
            raise UserError(f"{self.folder}: expected clips in split {split}, found some in {known} only: add them")
        self._records = array_record_data_source.ArrayRecordDataSource(splits[split].file_instructions)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: SupportsIndex) -> ClipRecord:
        place = index.__index__()
        if not 0 <= place < len(self):
            raise IndexError(f"clip {place} of {len(self)}")
        return _parse(self._records[place])

    def __repr__(self) -> str:
        # Grain prints it, and uses it to tell whether a saved iterator belongs to this source.
        return f"ClipSource(folder={os.fspath(self.folder)!r}, split={self.split!r}, num_clips={len(self)})"


def split_annotations(source: ClipSource) -> list[Clip]:
    """Annotations of a split's clips, position for position as in the source; reads no frames."""
    return [stored.clip for stored in stored_clips(source)]


def stored_clips(source: ClipSource) -> list[StoredClip]:
    """As ``split_annotations``, with number of frames and frames per second."""
    return read_stored_clips(source.folder)[source.split]


def _parse(record: bytes) -> ClipRecord:
    feature = tf_example_pb2.Example.FromString(record).features.feature
    clip = ClipRecord(
        clip_id=_text(feature["clip_id"]),
        activity=_text(feature["activity"]),
        muscles=np.array(feature["muscles"].int64_list.value, np.uint8),
        fps=feature["fps"].float_list.value[0],
    )
    for name in IMAGE_FEATURES:
        if name in feature:
            clip[name] = feature[name].bytes_list.value
    if "flow_scale" in feature:
        clip["flow_scale"] = np.array(feature["flow_scale"].float_list.value, np.float32)
    if "skeleton/value" in feature:
        shape = tuple(feature["skeleton/shape"].int64_list.value)
        joints = np.frombuffer(zlib.decompress(feature["skeleton/value"].bytes_list.value[0]), np.float32)
        clip["skeleton"] = joints.reshape(shape)
        clip["skeleton_layout"] = _text(feature["skeleton_layout"])
    return clip


def _text(feature: Any) -> str:
    return feature.bytes_list.value[0].decode("utf-8")
