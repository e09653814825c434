"""A build by Apache Beam: each shard is read and written by one worker; what became of its clips comes back in a file.

TFDS's own way to run a shard based builder by Beam is not taken: it starts from a runner object, which the `tfds build`
command cannot give, and runs the pipeline anew for every split.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module
from etils import epath
from tensorflow_datasets.core import example_serializer, file_adapters
from tensorflow_datasets.core import writer as writer_lib

from musclemap_jax.data.distribution import Clip
from musclemap_jax.errors import UserError
from tfds_musclemap.build import records
from tfds_musclemap.build_log import BuildLog, StoredClip
from tfds_musclemap.clip_reader import ClipContent, ClipSettings, Rejected, read_clip
from tfds_musclemap.features import make_features
from tfds_musclemap.remote import written_locally

_LOG_SUFFIX = ".log.json"

_RECORDS = "group_size:1,uncompressed"
"""ArrayRecord's options: one record at a time can be read."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard to write.

    Attributes:
      root: the distribution's folder, as every worker sees it.
      path: file to write, as every worker sees it.
      file_format: TFDS's name of the record format.
      settings: how clips are read.
      clips: its clips, in order.
    """

    root: str
    path: str
    file_format: str
    settings: ClipSettings
    clips: Sequence[Clip]


class ExampleWriter(writer_lib.ExampleWriter):
    """TFDS's writer of record files, for object stores too, and ArrayRecord without compression.

    JPEG images are compressed already. Zstandard, which TFDS takes, finds more only where nothing moves in a picture
    (up to half of the size, with a fixed camera), for a fifth of the time of the build and of each training input.
    """

    def write(self, path: Any, examples: Any) -> Any:
        """See TFDS."""
        with written_locally(path) as local:
            if self.file_format != file_adapters.FileFormat.ARRAY_RECORD:
                return super().write(local, examples)
            with contextlib.closing(array_record_module.ArrayRecordWriter(os.fspath(local), _RECORDS)) as writer:
                for _, example in examples:
                    writer.write(example)
            return None


def check_beam() -> None:
    """Raises UserError if Apache Beam is not installed."""
    try:
        import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"building by Beam needs the package apache-beam ({error}): install the extra beam, "
            f"`pip install -e '.[beam]'`"
        ) from error


def write_shards(shards: Sequence[Shard], options: Any, runner: Any, log: BuildLog) -> list[int]:
    """Writes all shards in one pipeline.

    Args:
      shards: in the order that the log shall have.
      options: apache_beam's PipelineOptions, or None.
      runner: apache_beam's runner, or None for the one that the options name.
      log: is told of every clip, when all is done.

    Returns:
      Records in each shard.

    Raises:
      UserError: too many clips have been rejected.
    """
    import apache_beam as beam

    options = options or beam.options.pipeline_options.PipelineOptions()
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | beam.Create(shards) | beam.Reshuffle() | "WriteShards" >> beam.Map(write_shard)
    return [_take_log(shard, log) for shard in shards]


def write_shard(shard: Shard) -> None:
    """Reads the clips of a shard and writes it, and beside it what became of them. A retry writes the same again."""
    features = make_features(shard.settings.modalities, shard.settings.skeleton_layout)
    writer = writer_lib.ShardWriter(
        features=features,
        serializer=example_serializer.ExampleSerializer(features.get_serialized_info()),
        example_writer=ExampleWriter(file_adapters.FileFormat.from_value(shard.file_format)),
    )
    log = BuildLog(len(shard.clips), max_rejected_share=1.0)
    writer.write(records(shard.clips, _contents(shard), shard.settings, log, lambda: None), epath.Path(shard.path))
    stored = [[each.num_frames, each.fps, each.size] for each in log.stored]
    places = {clip.clip_id: place for place, clip in enumerate(shard.clips)}
    entry = {
        "stored": dict(zip((places[each.clip.clip_id] for each in log.stored), stored, strict=True)),
        "rejected": {places[clip.clip_id]: reason for clip, reason in log.rejected},
    }
    epath.Path(shard.path + _LOG_SUFFIX).write_text(json.dumps(entry))


def _contents(shard: Shard) -> Iterator[ClipContent | Rejected]:
    for clip in shard.clips:
        yield read_clip(shard.root, clip.clip_id, shard.settings)


def _take_log(shard: Shard, log: BuildLog) -> int:
    """Moves a shard's log into that of the build; returns the number of its records."""
    path = epath.Path(shard.path + _LOG_SUFFIX)
    entry = json.loads(path.read_text())
    path.unlink()
    for place, clip in enumerate(shard.clips):
        if str(place) in entry["stored"]:
            num_frames, fps, size = entry["stored"][str(place)]
            log.add_stored(StoredClip(clip, num_frames, fps, tuple(size)))
        else:
            log.add_rejected(clip, entry["rejected"][str(place)])
    return len(entry["stored"])


def split_info(split: str, paths: Sequence[Any], lengths: Sequence[int], template: Any) -> tfds.core.SplitInfo:
    """TFDS's description of a split that lies in these shards."""
    num_bytes = sum(epath.Path(path).stat().length for path in paths)
    return tfds.core.SplitInfo(name=split, shard_lengths=list(lengths), num_bytes=num_bytes, filename_template=template)
