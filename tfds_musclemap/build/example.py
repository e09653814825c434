"""A clip as a serialised tf.train.Example, made by the worker process that reads the clip."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from musclemap_jax.data.modalities import IMAGE_FIELDS
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.build_log import StoredClip
from tfds_musclemap.build.clip_reader import ClipContent, check_size, read_clip
from tfds_musclemap.build.features import make_features
from tfds_musclemap.build.remote import local_files
from tfds_musclemap.build.sources import SourceFile, find_sources, with_hash


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """A clip's record, and its row of the build's log."""

    data: bytes
    stored: StoredClip


@dataclasses.dataclass(frozen=True)
class ReadClip:
    """What became of a clip, the record or the reason for its rejection, and the files that it was made of."""

    result: StoredExample | ClipError
    sources: list[SourceFile]


def read_example(root: str, clip: Clip, num_regions: int, settings: ClipSettings) -> ReadClip:
    """Reads a clip of the raw data set in the folder ``root``, which may be remote and has K muscle regions.

    A remote clip is copied to be read. The same files give the same record, on any worker.
    """
    sources = find_sources(root, clip.clip_id, settings)  # before they are read: what changes later is noticed
    try:
        with local_files(root, [source.name for source in sources]) as local_root:
            sources = [with_hash(local_root, source) for source in sources]
            content = read_clip(local_root, clip.clip_id, settings)
        if isinstance(content, ClipError):
            return ReadClip(content, sources)
        return ReadClip(_example(clip, content, num_regions, settings), sources)
    except (ClipError, OSError) as error:
        return ReadClip(ClipError(" ".join(str(error).split())), sources)


def _example(clip: Clip, content: ClipContent, num_regions: int, settings: ClipSettings) -> StoredExample:
    """The clip's record. Raises ClipError if it would be too large."""
    check_size(clip.clip_id, _num_bytes(content.fields))
    images = {name: content.fields[name] for name in IMAGE_FIELDS if name in content.fields}
    example = {
        "clip_id": clip.clip_id,
        "activity": clip.activity,
        "muscles": np.isin(np.arange(num_regions), clip.muscles).astype(np.uint8),
        "fps": np.float32(content.fps),
        **content.fields,
        **{name: [] for name in images},
    }
    features, serializer = _serializer(settings)
    proto = serializer.get_tf_example(features.encode_example(example))
    for name, encoded in images.items():  # megabytes, which TFDS's serialiser would copy three times
        proto.features.feature[name].bytes_list.value.extend(encoded)
    # Deterministic, since the order of the proto's map differs between processes otherwise.
    data = proto.SerializeToString(deterministic=True)
    return StoredExample(data, StoredClip(clip, content.num_frames, content.fps, content.size))


def _num_bytes(fields: ClipRecord) -> int:
    """Size of the images and arrays, before any compression."""
    images = sum(len(data) for name in IMAGE_FIELDS for data in fields.get(name, ()))
    return images + sum(value.nbytes for value in fields.values() if isinstance(value, np.ndarray))


@functools.cache
def _serializer(settings: ClipSettings) -> tuple[tfds.features.FeaturesDict, ExampleSerializer]:
    features = make_features(settings)
    return features, ExampleSerializer(features.get_serialized_info())
