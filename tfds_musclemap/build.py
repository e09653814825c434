"""One build of the data set: which clip goes to which shard, and its records."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from musclemap_jax import taxonomy
from musclemap_jax.data import distribution, video
from tfds_musclemap.build_log import BuildLog
from tfds_musclemap.clip_reader import ClipSettings, Rejected, read_clip
from tfds_musclemap.worker_pool import WorkerCrash, WorkerPool

SHARD_BYTES = 256 << 20
"""Size that shards are given, by estimate."""

_BYTES_PER_PIXEL = 0.35
"""Of a JPEG at quality 90 with colour at half resolution, upper estimate: 0.2 to 0.3 were seen."""

_NUM_PROBED = 64

Record = tuple[str, dict[str, Any]]


class Build:
    """Reads the clips of a distribution into records, shard by shard."""

    def __init__(
        self,
        root: Path,
        clips: Sequence[distribution.Clip],
        settings: ClipSettings,
        clip_bytes: int,
        log: BuildLog,
        pool: WorkerPool,
        progress: tqdm.tqdm,
    ):
        """
        Args:
          root: the distribution's folder.
          clips: its annotations.
          settings: how clips are read.
          clip_bytes: estimate of a clip's prepared size.
          log: is told of every clip.
          pool: reads the clips.
          progress: is moved on by every clip.
        """
        self._root = root
        self._clips = clips
        self._settings = settings
        self._clip_bytes = clip_bytes
        self._log = log
        self._pool = pool
        self._progress = progress

    def shards(self) -> dict[str, list[Callable[[], Iterator[Record]]]]:
        """For each split that has clips, in the order of the taxonomy, the generators of its shards."""
        shards = {}
        for split in taxonomy.SPLITS:
            # A hash of the name mixes the activities over the shards, and does not change when clips are added.
            clips = sorted((clip for clip in self._clips if clip.split == split), key=_mixing_key)
            if clips:
                num_shards = min(len(clips), 1 + len(clips) * self._clip_bytes // SHARD_BYTES)
                bounds = [round(index * len(clips) / num_shards) for index in range(num_shards + 1)]
                shards[split] = [
                    functools.partial(self._records, clips[start:end]) for start, end in itertools.pairwise(bounds)
                ]
        return shards

    def _records(self, clips: Sequence[distribution.Clip]) -> Iterator[Record]:
        """Yields (clip id, features) of the clips that can be read; the others go to the log.

        Raises:
          UserError: too many clips have been rejected.
        """
        calls = ((str(self._root), clip.clip_id, self._settings) for clip in clips)
        for clip, content in zip(clips, self._pool.map(read_clip, calls), strict=True):
            self._progress.update()
            if isinstance(content, WorkerCrash):
                self._log.add_rejected(clip, f"{clip.clip_id}: {content}")
            elif isinstance(content, Rejected):
                self._log.add_rejected(clip, content.reason)
            else:
                self._log.add_stored(clip, len(content.frames), content.fps)
                features = {
                    "clip_id": clip.clip_id,
                    "activity": clip.activity,
                    "muscles": np.isin(np.arange(taxonomy.NUM_REGIONS), clip.muscles).astype(np.uint8),
                    "fps": np.float32(content.fps),
                    "frames": content.frames,
                    "skeleton": content.skeleton,
                    "skeleton_layout": self._settings.skeleton_layout,
                }
                yield clip.clip_id, features
                # TFDS holds on to every record of a shard, only to count them in the end: leave it empty ones.
                features.clear()


def estimate_clip_bytes(root: Path, clips: Sequence[distribution.Clip], settings: ClipSettings) -> int:
    """Upper estimate of a clip's mean prepared size, from the headers of some of the mp4 files.

    From the frames' pixels, not from the mp4 files' sizes: a still scene is 30 times larger as JPEG, a lively one 7.
    """
    sizes = []
    for clip in clips[:: max(1, len(clips) // _NUM_PROBED)]:
        try:
            pixels = video.count_stored_pixels(distribution.video_path(root, clip.clip_id), settings.short_side)
        except video.VideoError:
            continue  # it will be rejected when its turn comes
        sizes.append(pixels * _BYTES_PER_PIXEL)
    return int(np.mean(sizes)) if sizes else 0


def _mixing_key(clip: distribution.Clip) -> bytes:
    return hashlib.sha256(clip.clip_id.encode()).digest()
