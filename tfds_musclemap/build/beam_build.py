"""Builds the data set by Apache Beam: each shard is made by one worker; what became of its clips comes back in a file.

TFDS's own way to run a shard based builder by Beam is not taken: it starts from a runner object, which the `tfds build`
command cannot give, and runs the pipeline anew for every split.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from musclemap_jax.errors import UserError
from tfds_musclemap.build.build import records
from tfds_musclemap.build.build_log import BuildLog, StoredClip
from tfds_musclemap.build.clip_reader import ClipSettings
from tfds_musclemap.build.example import read_example
from tfds_musclemap.build.shards import Shard

_LOG_SUFFIX = ".log.json"


def check_beam() -> None:
    """Raises UserError if Apache Beam is not installed."""
    try:
        import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"building by Beam needs the package apache-beam ({error}): install the extra beam, "
            f"`pip install -e '.[beam]'`"
        ) from error


def write_shards(
    root: str, shards: Sequence[Shard], settings: ClipSettings, options: Any, runner: Any, log: BuildLog
) -> None:
    """Writes all shards in one pipeline.

    Args:
      root: the raw data set's folder, as every worker sees it.
      shards: what to write, in the order that the log shall have.
      settings: how clips are read.
      options: apache_beam's PipelineOptions, or None.
      runner: apache_beam's runner, or None for the one that the options name.
      log: is told of every clip, when all is done.

    Raises:
      UserError: too many clips have been rejected.
    """
    import apache_beam as beam

    options = options or beam.options.pipeline_options.PipelineOptions()
    write = functools.partial(write_shard, root=root, settings=settings)
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | beam.Create(shards) | beam.Reshuffle() | "WriteShards" >> beam.Map(write)
    for shard in shards:
        _take_log(shard, log)


def write_shard(shard: Shard, root: str, settings: ClipSettings) -> None:
    """Reads the clips of a shard and writes it, and beside it what became of them. A retry writes the same again."""
    log = BuildLog(len(shard.clips), max_rejected_fraction=1.0)
    shard.write(records(shard.clips, (read_example(root, clip, settings) for clip in shard.clips), log))
    stored = [[each.num_frames, each.fps, each.size] for each in log.stored]
    places = {clip.clip_id: place for place, clip in enumerate(shard.clips)}
    entry = {
        "stored": dict(zip((places[each.clip.clip_id] for each in log.stored), stored, strict=True)),
        "rejected": {places[clip.clip_id]: reason for clip, reason in log.rejected},
    }
    epath.Path(shard.path + _LOG_SUFFIX).write_text(json.dumps(entry))


def _take_log(shard: Shard, log: BuildLog) -> None:
    """Moves a shard's log into that of the build."""
    path = epath.Path(shard.path + _LOG_SUFFIX)
    entry = json.loads(path.read_text())
    path.unlink()
    for place, clip in enumerate(shard.clips):
        if str(place) in entry["stored"]:
            num_frames, fps, size = entry["stored"][str(place)]
            log.add_stored(StoredClip(clip, num_frames, fps, tuple(size)))
        else:
            log.add_rejected(clip, entry["rejected"][str(place)])
