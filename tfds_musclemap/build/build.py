"""Builds the data set on this machine: worker processes make the records, and this process writes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from tfds_musclemap.build.build_log import BuildLog
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
    """Writes all shards of the raw data set in the folder ``root``, which has K muscle regions.

    The pool makes the records. The log gets every clip, in the order of the shards, and ``advance`` is called after
    each. Raises UserError if too many clips are rejected.
    """
    clips = [clip for shard in shards for clip in shard.clips]
    # One stream for all shards: no worker waits at the end of a shard.
    results = pool.map(read_example, ((root, clip, num_regions, settings) for clip in clips))
    for shard in shards:
        shard.write(records(shard.clips, itertools.islice(results, len(shard.clips)), log, advance))


def records(
    clips: Sequence[Clip],
    results: Iterable[StoredExample | ClipError | WorkerCrash],
    log: BuildLog,
    advance: Callable[[], Any] = lambda: None,
) -> Iterator[bytes]:
    """Yields the records of the clips that could be read, and logs all. Raises UserError if too many are rejected."""
    for clip, result in zip(clips, results, strict=True):
        advance()
        if isinstance(result, WorkerCrash):
            log.reject(clip, f"{clip.clip_id}: {result}")
        elif isinstance(result, ClipError):
            log.reject(clip, str(result))
        else:
            log.stored.append(result.stored)
            yield result.data
