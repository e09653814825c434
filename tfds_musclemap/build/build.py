"""Builds the data set on this machine: worker processes make the records, and this process writes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from tfds_musclemap.build.build_log import BuildLog
from tfds_musclemap.build.example import ReadClip, read_example
from tfds_musclemap.build.shards import Shard
from tfds_musclemap.build.sources import find_sources


def write_shards(
    root: str,
    shards: Sequence[Shard],
    num_regions: int,
    settings: ClipSettings,
    pool: WorkerPool,
    log: BuildLog,
    advance: Callable[[], Any],
) -> None:
    """Writes all shards of the raw data set in the folder ``root``, which has K muscle regions.

    The pool makes the records. The log gets every clip, in the order of the shards, and ``advance`` is called after
    each. Raises UserError if too many clips are rejected.
    """
    clips = [clip for shard in shards for clip in shard.clips]
    # One stream for all shards: no worker waits at the end of a shard.
    results = pool.map(read_example, ((root, clip, num_regions, settings) for clip in clips))
    for shard in shards:
        of_shard = itertools.islice(results, len(shard.clips))
        shard.write(records(root, settings, shard.clips, of_shard, log, advance))


def records(
    root: str,
    settings: ClipSettings,
    clips: Sequence[Clip],
    results: Iterable[ReadClip | WorkerCrash],
    log: BuildLog,
    advance: Callable[[], Any] = lambda: None,
) -> Iterator[bytes]:
    """Yields the records of the clips that could be read, and logs all. Raises UserError if too many are rejected."""
    for clip, read in zip(clips, results, strict=True):
        advance()
        if isinstance(read, WorkerCrash):
            read = ReadClip(ClipError(f"{clip.clip_id}: {read}"), find_sources(root, clip.clip_id, settings))
        log.sources[clip.clip_id] = read.sources
        if isinstance(read.result, ClipError):
            log.reject(clip, str(read.result))
        else:
            log.stored.append(read.result.stored)
            yield read.result.data
