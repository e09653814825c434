"""ArrayRecord data as a tf.data.Dataset, which TFDS does not offer. Needs the extra ``tfds``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.data_sources import array_record
from tensorflow_datasets.core.data_sources.base import file_instructions

from musclemap_jax.errors import UserError

_ABOUT_FILES = (
    "repeat_filenames",
    "interleave_cycle_length",
    "interleave_block_length",
    "experimental_interleave_sort_fn",
    "file_format",
)
"""Fields of TFDS's ReadConfig that would be ignored: records are read at random, not file by file."""


def array_record_dataset(
    info: tfds.core.DatasetInfo, split: Any, decoders: Any, read_config: Any, shuffle_files: bool
) -> tf.data.Dataset:
    """What ``DatasetBuilder._as_dataset`` takes and returns, by random access to the records.

    ``shuffle_files`` shuffles the clips themselves. With ``read_config.input_context``, each worker reads every n-th
    clip. What concerns the speed of reading files has no effect; raises UserError for other options about files.
    """
    features = info.features
    if isinstance(decoders, tfds.decode.PartialDecoding):
        features, decoders = decoders.extract_features(features), decoders.decoders
    source = array_record.ArrayRecordDataSource(
        info, split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    read_config = read_config or tfds.ReadConfig()
    _check_options(read_config)
    places = _of_worker(tf.data.Dataset.range(len(source)), len(source), read_config.input_context)
    if shuffle_files:
        places = places.shuffle(
            max(1, len(source)),
            seed=read_config.shuffle_seed,
            reshuffle_each_iteration=read_config.shuffle_reshuffle_each_iteration,
        )
    ids = tf.constant(_tfds_ids(info, split)) if read_config.add_tfds_id else None

    def read(place: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.numpy_function(lambda index: np.array(source[int(index)], object), [place], tf.string)
        example = features.deserialize_example(tf.ensure_shape(record, ()), decoders=decoders)
        return example if ids is None else example | {"tfds_id": tf.gather(ids, place)}

    parallel = read_config.num_parallel_calls_for_decode
    return places.map(read, num_parallel_calls=parallel).with_options(read_config.options)


def _check_options(read_config: Any) -> None:
    default = tfds.ReadConfig()
    for name in _ABOUT_FILES:
        if getattr(read_config, name) != getattr(default, name):
            raise UserError(f"ReadConfig.{name}: ArrayRecord data is read record by record: leave the option out")


def _of_worker(places: tf.data.Dataset, num_clips: int, context: Any) -> tf.data.Dataset:
    """The places of one worker's clips; all of them without a tf.distribute.InputContext."""
    if context is None:
        return places
    if num_clips < context.num_input_pipelines:
        raise UserError(
            f"ReadConfig.input_context: expected at most {num_clips} workers, one for each clip, got "
            f"{context.num_input_pipelines}: use fewer"
        )
    return places.shard(context.num_input_pipelines, context.input_pipeline_id)


def _tfds_ids(info: tfds.core.DatasetInfo, split: Any) -> Sequence[str]:
    """TFDS's name for each record of a split or a part of it: that of its file, and its place in the file."""
    return [
        f"{instruction.basename()}__{index}"
        for instruction in file_instructions(info, split)
        for index in range(instruction.skip, instruction.skip + instruction.take)
    ]
