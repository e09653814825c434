"""The fields of a record as TFDS features."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from musclemap_jax.data.modalities import record_fields
from musclemap_jax.data.modalities.fields import Array, Field, Images, Text
from musclemap_jax.data.modalities.modality import ClipSettings


def make_features(settings: ClipSettings) -> tfds.features.FeaturesDict:
    """The features of a builder config; the README.md next to the builder describes them.

    The number of muscle regions stays open: TFDS makes a builder, and so its features, before it knows the raw data
    set, which brings the regions.
    """
    return tfds.features.FeaturesDict({name: tfds_feature(field) for name, field in record_fields(settings).items()})


def tfds_feature(field: Field) -> tfds.features.FeatureConnector:
    """TFDS's feature for a kind of field."""
    match field:
        case Text():
            return tfds.features.Text()
        case Images(channels, encoding):
            image = tfds.features.Image(shape=(None, None, channels), dtype=np.uint8, encoding_format=encoding)
            return tfds.features.Sequence(image)
        case Array((), dtype):
            return tfds.features.Scalar(dtype=np.dtype(dtype))
        case Array(shape, dtype, compressed):
            encoding = tfds.features.Encoding.ZLIB if compressed else tfds.features.Encoding.NONE
            return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype), encoding=encoding)
