"""What a prepared clip holds: the features of each modality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from musclemap_jax import taxonomy
from musclemap_jax.skeleton_layouts import get_layout


def make_features(modalities: Sequence[str], skeleton_layout: str) -> tfds.features.FeaturesDict:
    """The features of a builder config; README.md beside the builder says what they mean.

    Args:
      modalities: some of ``clip_reader.MODALITIES``.
      skeleton_layout: name of the joint order.
    """
    features = {
        "clip_id": tfds.features.Text(),
        "activity": tfds.features.Text(),
        "muscles": tfds.features.Tensor(shape=(taxonomy.NUM_REGIONS,), dtype=np.uint8),
        "fps": tfds.features.Scalar(dtype=np.float32),
    }
    if "rgb" in modalities:
        features["frames"] = _images(3, "jpeg")
    if "rgb_diff" in modalities:
        features["rgb_diff"] = _images(3, "png")
    if "optical_flow" in modalities:
        features["flow_x"] = _images(1, "jpeg")
        features["flow_y"] = _images(1, "jpeg")
        features["flow_scale"] = tfds.features.Tensor(shape=(2,), dtype=np.float32)
    if "skeleton" in modalities:
        num_joints = get_layout(skeleton_layout).num_joints
        features["skeleton"] = tfds.features.Tensor(
            shape=(None, None, num_joints, 3), dtype=np.float32, encoding=tfds.features.Encoding.ZLIB
        )
        features["skeleton_layout"] = tfds.features.Text()
    return tfds.features.FeaturesDict(features)


def _images(channels: int, encoding_format: str) -> tfds.features.Sequence:
    shape = (None, None, channels)
    return tfds.features.Sequence(tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format=encoding_format))
