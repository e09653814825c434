"""Builds the data set by Apache Beam: one worker makes each shard, and returns the log of its clips in a file.

TFDS's own Beam support for shard-based builders is not used: it starts from a runner object, which the `tfds build`
command cannot give, and runs a pipeline for every split.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.errors import UserError
from tfds_musclemap.build.build import records
from tfds_musclemap.build.build_log import BuildLog, StoredClip
from tfds_musclemap.build.example import read_example
from tfds_musclemap.build.shards import Shard
from tfds_musclemap.build.sources import SourceFile

_LOG_SUFFIX = ".log.json"


def check_beam() -> None:
    """Raises UserError if Apache Beam is not installed."""
    try:
        import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Beam needs the package apache-beam ({error}): install the extra beam, `pip install -e '.[beam]'`"
        ) from error


def write_shards(
    root: str,
    shards: Sequence[Shard],
    num_regions: int,
    settings: ClipSettings,
    options: Any,
    runner: Any,
    log: BuildLog,
) -> None:
    """As ``build.write_shards`` in one pipeline, at whose end the log gets every clip.

    The folder ``root`` is as every worker sees it. The options are apache_beam's PipelineOptions, or None; the runner
    is apache_beam's, or None for the one that the options name.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    options = options or PipelineOptions()
    write = functools.partial(write_shard, root=root, num_regions=num_regions, settings=settings)
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | beam.Create(shards) | beam.Reshuffle() | "WriteShards" >> beam.Map(write)
    for shard in shards:
        _take_log(shard, log)


def write_shard(shard: Shard, root: str, num_regions: int, settings: ClipSettings) -> None:
    """Reads the clips of a shard and writes it, with their log in a file next to it. A retry writes the same."""
    log = BuildLog(len(shard.clips), max_rejected_fraction=1.0)
    results = (read_example(root, clip, num_regions, settings) for clip in shard.clips)
    shard.write(records(root, settings, shard.clips, results, log))
    stored = {each.clip.clip_id: (each.num_frames, each.fps, each.size) for each in log.stored}
    rejected = {clip.clip_id: reason for clip, reason in log.rejected}
    sources = {clip_id: [dataclasses.astuple(source) for source in files] for clip_id, files in log.sources.items()}
    epath.Path(shard.path + _LOG_SUFFIX).write_text(json.dumps({"clips": stored | rejected, "sources": sources}))


def _take_log(shard: Shard, log: BuildLog) -> None:
    """Moves a shard's log into the build's."""
    path = epath.Path(shard.path + _LOG_SUFFIX)
    entries = json.loads(path.read_text())
    path.unlink()
    for clip in shard.clips:
        log.sources[clip.clip_id] = [SourceFile(*source) for source in entries["sources"][clip.clip_id]]
        match entries["clips"][clip.clip_id]:
            case str(reason):
                log.reject(clip, reason)
            case num_frames, fps, size:
                log.stored.append(StoredClip(clip, num_frames, fps, tuple(size)))
