"""A clip as it is stored: a serialised tf.train.Example, made where the clip is read, in a worker process."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from musclemap_jax import taxonomy
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.clip_reader import ClipSettings, Rejected, read_clip
from tfds_musclemap.build.features import make_features


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """A record, and what the build's log says of it.

    Attributes:
      data: the record.
      num_frames: frames stored.
      fps: frames per second.
      size: (height, width) of the stored frames in pixels, or that they would have.
    """

    data: bytes
    num_frames: int
    fps: float
    size: tuple[int, int]


def read_example(root: str, clip: Clip, settings: ClipSettings) -> StoredExample | Rejected:
    """Reads a clip of a raw data set as a record.

    Args:
      root: the raw data set's folder, also a remote one.
      clip: its annotations.
      settings: how to read it.

    Returns:
      The record, or why the clip is left out. The same files give the same bytes, on any worker.
    """
    content = read_clip(root, clip.clip_id, settings)
    if isinstance(content, Rejected):
        return content
    images = {name: value for name, value in content.features.items() if isinstance(value, list)}
    example = {
        "clip_id": clip.clip_id,
        "activity": clip.activity,
        "muscles": np.isin(np.arange(taxonomy.NUM_REGIONS), clip.muscles).astype(np.uint8),
        "fps": np.float32(content.fps),
        **content.features,
        **{name: [] for name in images},
    }
    if "skeleton" in example:
        example["skeleton_layout"] = settings.skeleton_layout
    features, serializer = _serializer(settings.modalities, settings.skeleton_layout)
    proto = serializer.get_tf_example(features.encode_example(example))
    for name, encoded in images.items():  # megabytes, which TFDS's serialiser would copy three times
        proto.features.feature[name].bytes_list.value.extend(encoded)
    # Deterministic: the order of the proto's map is otherwise another one in every process.
    data = proto.SerializeToString(deterministic=True)
    return StoredExample(data, content.num_frames, content.fps, content.size)


@functools.cache
def _serializer(
    modalities: tuple[str, ...], skeleton_layout: str
) -> tuple[tfds.features.FeaturesDict, ExampleSerializer]:
    features = make_features(modalities, skeleton_layout)
    return features, ExampleSerializer(features.get_serialized_info())
