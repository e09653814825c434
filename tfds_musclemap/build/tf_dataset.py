"""ArrayRecord data as a tf.data.Dataset, which TFDS does not offer. Needs the extra ``tfds``."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.data_sources import array_record


def array_record_dataset(
    info: tfds.core.DatasetInfo, split: Any, decoders: Any, read_config: Any, shuffle_files: bool
) -> tf.data.Dataset:
    """What ``DatasetBuilder._as_dataset`` takes and returns, by random access to the records.

    Of ``read_config``, the shuffle seed and whether to reshuffle are used; ``shuffle_files`` shuffles the clips
    themselves.
    """
    features = info.features
    if isinstance(decoders, tfds.decode.PartialDecoding):
        features, decoders = decoders.extract_features(features), decoders.decoders
    source = array_record.ArrayRecordDataSource(
        info, split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    read_config = read_config or tfds.ReadConfig()
    places = tf.data.Dataset.range(len(source))
    if shuffle_files:
        places = places.shuffle(
            max(1, len(source)),
            seed=read_config.shuffle_seed,
            reshuffle_each_iteration=read_config.shuffle_reshuffle_each_iteration,
        )

    def read(place: tf.Tensor) -> tf.Tensor:
        record = tf.numpy_function(lambda index: np.array(source[int(index)], object), [place], tf.string)
        return tf.ensure_shape(record, ())

    records = places.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    return records.map(
        lambda record: features.deserialize_example(record, decoders=decoders), num_parallel_calls=tf.data.AUTOTUNE
    )
