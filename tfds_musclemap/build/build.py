"""Builds the data set on this machine: worker processes make the records, and this process writes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from tfds_musclemap.build.build_log import BuildLog, StoredClip
from tfds_musclemap.build.clip_reader import Rejected
from tfds_musclemap.build.example import StoredExample, read_example
from tfds_musclemap.build.shards import Shard


def write_shards(
    root: str,
    shards: Sequence[Shard],
    num_regions: int,
    settings: ClipSettings,
    pool: WorkerPool,
    log: BuildLog,
    advance: Callable[[], Any],
) -> None:
    """Writes all shards.

    Args:
      root: The raw data set's folder.
      shards: The shards, in the order in which their clips are logged.
      num_regions: K, muscle regions of the raw data set.
      settings: How clips are stored.
      pool: The pool that makes the records.
      log: Gets every clip.
      advance: Called after every clip.

    Raises:
      UserError: Too many clips have been rejected.
    """
    clips = [clip for shard in shards for clip in shard.clips]
    # One stream for all shards: no worker waits at the end of a shard.
    results = pool.map(read_example, ((root, clip, num_regions, settings) for clip in clips))
    for shard in shards:
        shard.write(records(shard.clips, itertools.islice(results, len(shard.clips)), log, advance))


def records(
    clips: Sequence[Clip],
    results: Iterable[StoredExample | Rejected | WorkerCrash],
    log: BuildLog,
    advance: Callable[[], Any] = lambda: None,
) -> Iterator[bytes]:
    """Yields the records of the clips that could be read, and logs all clips.

    Raises:
      UserError: Too many clips have been rejected.
    """
    for clip, result in zip(clips, results, strict=True):
        advance()
        if isinstance(result, WorkerCrash):
            log.add_rejected(clip, f"{clip.clip_id}: {result}")
        elif isinstance(result, Rejected):
            log.add_rejected(clip, result.reason)
        else:
            log.add_stored(StoredClip(clip, result.num_frames, result.fps, result.size))
            yield result.data
