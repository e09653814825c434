"""Random access to the prepared clips, with frames as JPEG bytes.

TFDS's own data source decodes every frame of a record, of which training needs a few. This one reads the same
ArrayRecord files and protos but leaves the frames as they are stored.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from tensorflow_datasets.proto import tf_example_pb2

from musclemap_jax.data.modalities import ALL_FIELDS
from musclemap_jax.data.modalities.fields import Array, ClipRecord, Field, Images, Text
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.errors import UserError
from musclemap_jax.storage.regular_file import check_regular_file
from tfds_musclemap.build.build_log import StoredClip, read_stored_clips


class ClipSource(Sequence[ClipRecord]):
    """The clips of one split. It can be pickled: a worker process opens the files itself.

    Attributes:
      folder: Folder of the prepared data, such as ``<data_dir>/musclemap/synthetic/4.0.0``.
      split: Name of the split.
      regions: Names of the K muscle regions, in the order of the records' ``muscles``.
      allow_background: Whether clips may have no active region.
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        """Raises UserError if the folder holds no prepared data, or the split has no clips or lacks a file."""
        self.folder = Path(folder)
        self.split = split
        info = read_info(self.folder)
        if "regions" not in info.metadata:
            raise UserError(f"{self.folder}: prepared by an earlier version of this project: prepare the data again")
        self.regions: tuple[str, ...] = tuple(info.metadata["regions"])
        self.allow_background: bool = info.metadata["allow_background"]
        splits = info.splits
        if split not in splits or not splits[split].num_examples:
            known = ", ".join(name for name in splits if splits[name].num_examples)
            raise UserError(f"{self.folder}: expected clips in split {split}, found clips in {known} only: add some")
        for file in splits[split].filepaths:
            if not Path(file).is_file():
                raise UserError(
                    f"{file}: expected a file of records, found none: delete its folder and prepare the data again"
                )
        self._records = array_record_data_source.ArrayRecordDataSource(splits[split].file_instructions)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: SupportsIndex) -> ClipRecord:
        place = index.__index__()
        if not 0 <= place < len(self):
            raise IndexError(f"clip {place} of {len(self)}")
        return parse_record(self._records[place])

    def __repr__(self) -> str:
        # Grain prints it, and uses it to check that a saved iterator belongs to this source.
        return f"ClipSource(folder={os.fspath(self.folder)!r}, split={self.split!r}, num_clips={len(self)})"


def read_info(folder: Path) -> tfds.core.DatasetInfo:
    """TFDS's description of prepared data. Raises UserError if the folder holds none or it is damaged."""
    if not (folder / "dataset_info.json").is_file():
        raise UserError(f"{folder}: expected a prepared data set, found none: run tfds_musclemap.prepare")
    try:
        check_regular_file(folder / "features.json")
        info = tfds.builder_from_directory(folder).info
        dict(info.metadata or {})  # reads its file
        return info
    except Exception as error:  # a damaged file may raise anything
        raise UserError(
            f"{folder}: expected dataset_info.json, features.json and metadata.json as TFDS writes them "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): delete this folder and prepare the data "
            "again"
        ) from error


def split_annotations(source: ClipSource) -> list[Clip]:
    """Annotations of a split's clips, in the order of the source; reads no frames."""
    return [stored.clip for stored in stored_clips(source)]


def stored_clips(source: ClipSource) -> list[StoredClip]:
    """As ``split_annotations``, with the number of frames and frames per second."""
    return read_stored_clips(source.folder)[source.split]


def parse_record(record: bytes, fields: Mapping[str, Field] = ALL_FIELDS) -> ClipRecord:
    """Those of the fields that a record has. Images are copied out of it one by one, when they are asked for."""
    features = tf_example_pb2.Example.FromString(record).features.feature
    clip: ClipRecord = {}
    for name, field in fields.items():
        if name in features:
            clip[name] = _value(field, features[name], ())
        elif f"{name}/value" in features:  # an array with several axes of any length
            clip[name] = _value(field, features[f"{name}/value"], features[f"{name}/shape"].int64_list.value)
    return clip


def _value(field: Field, feature: Any, shape: Sequence[int]) -> Any:
    """A field's value; `shape` is that of an array whose axes differ in length, where it is stored."""
    match field:
        case Text():
            return feature.bytes_list.value[0].decode("utf-8")
        case Images():
            return feature.bytes_list.value
        case Array():
            is_whole = np.dtype(field.dtype).kind in "iu"
            numbers = feature.int64_list.value if is_whole else feature.float_list.value
            if not field.shape:
                return numbers[0]
            if field.compressed:
                values = np.frombuffer(zlib.decompress(feature.bytes_list.value[0]), field.dtype)
            else:
                values = np.array(numbers, field.dtype)
            return values.reshape(tuple(shape) or tuple(-1 if length is None else length for length in field.shape))
