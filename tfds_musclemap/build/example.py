"""A clip as a serialised tf.train.Example, made by the worker process that reads the clip."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from musclemap_jax.data.modalities import IMAGE_FIELDS
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.build_log import StoredClip
from tfds_musclemap.build.clip_reader import read_clip
from tfds_musclemap.build.features import make_features


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """A clip's record, and its row of the build's log."""

    data: bytes
    stored: StoredClip


def read_example(root: str, clip: Clip, num_regions: int, settings: ClipSettings) -> StoredExample | ClipError:
    """Reads a clip of the raw data set in the folder ``root``, which may be remote and has K muscle regions.

    Returns the record, or why the clip is rejected. The same files give the same bytes, on any worker.
    """
    content = read_clip(root, clip.clip_id, settings)
    if isinstance(content, ClipError):
        return content
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


@functools.cache
def _serializer(settings: ClipSettings) -> tuple[tfds.features.FeaturesDict, ExampleSerializer]:
    features = make_features(settings)
    return features, ExampleSerializer(features.get_serialized_info())
