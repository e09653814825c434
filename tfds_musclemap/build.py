"""One build of the data set: which clip goes to which shard, and its records."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from musclemap_jax import taxonomy
from musclemap_jax.data import distribution, video
from musclemap_jax.data.distribution import Clip
from tfds_musclemap.build_log import BuildLog, StoredClip
from tfds_musclemap.clip_reader import ClipContent, ClipSettings, Rejected, read_clip
from tfds_musclemap.remote import local_clip
from tfds_musclemap.worker_pool import WorkerCrash, WorkerPool

SHARD_BYTES = 256 << 20
"""Size that shards are given, by estimate."""

_BYTES_PER_PIXEL = {"rgb": 0.35, "rgb_diff": 1.0, "optical_flow": 0.15}
"""Upper estimates. JPEG at quality 90 with colour at half resolution: 0.2 to 0.3 were seen; PNG of differences: 0.4 to
0.7; two grey JPEGs of flow: 0.04 to 0.11."""

_NUM_PROBED = 64

Record = tuple[str, dict[str, Any]]
Shards = dict[str, list[list[Clip]]]


def assign_shards(clips: Sequence[Clip], clip_bytes: int) -> Shards:
    """For each split that has clips, in the order of the taxonomy, the clips of its shards.

    A hash of the name mixes the activities over the shards, and does not change when clips are added.

    Args:
      clips: the distribution's annotations.
      clip_bytes: estimate of a clip's prepared size.
    """
    shards = {}
    for split in taxonomy.SPLITS:
        of_split = sorted((clip for clip in clips if clip.split == split), key=_mixing_key)
        if of_split:
            num_shards = min(len(of_split), 1 + len(of_split) * clip_bytes // SHARD_BYTES)
            bounds = [round(index * len(of_split) / num_shards) for index in range(num_shards + 1)]
            shards[split] = [of_split[start:end] for start, end in itertools.pairwise(bounds)]
    return shards


class Build:
    """Reads the clips of a distribution into records, shard by shard, on this machine."""

    def __init__(self, root: str, settings: ClipSettings, log: BuildLog, pool: WorkerPool, progress: tqdm.tqdm):
        """
        Args:
          root: the distribution's folder.
          settings: how clips are read.
          log: is told of every clip.
          pool: reads the clips.
          progress: is moved on by every clip.
        """
        self._root = root
        self._settings = settings
        self._log = log
        self._pool = pool
        self._progress = progress

    def generators(self, shards: Shards) -> dict[str, list[Callable[[], Iterator[Record]]]]:
        """For each split the generators of its shards' records."""
        return {split: [functools.partial(self._records, shard) for shard in shards[split]] for split in shards}

    def _records(self, clips: Sequence[Clip]) -> Iterator[Record]:
        calls = ((self._root, clip.clip_id, self._settings) for clip in clips)
        contents = self._pool.map(read_clip, calls)
        yield from records(clips, contents, self._settings, self._log, self._progress.update)


def records(
    clips: Sequence[Clip],
    contents: Iterator[ClipContent | Rejected | WorkerCrash],
    settings: ClipSettings,
    log: BuildLog,
    advance: Callable[[], Any],
) -> Iterator[Record]:
    """Yields (clip id, features) of the clips that can be read; the others go to the log.

    Raises:
      UserError: too many clips have been rejected.
    """
    for clip, content in zip(clips, contents, strict=True):
        advance()
        if isinstance(content, WorkerCrash):
            log.add_rejected(clip, f"{clip.clip_id}: {content}")
        elif isinstance(content, Rejected):
            log.add_rejected(clip, content.reason)
        else:
            log.add_stored(StoredClip(clip, content.num_frames, content.fps, content.size))
            features = {
                "clip_id": clip.clip_id,
                "activity": clip.activity,
                "muscles": np.isin(np.arange(taxonomy.NUM_REGIONS), clip.muscles).astype(np.uint8),
                "fps": np.float32(content.fps),
                **content.features,
            }
            if "skeleton" in features:
                features["skeleton_layout"] = settings.skeleton_layout
            yield clip.clip_id, features
            # TFDS holds on to every record of a shard, only to count them in the end: leave it empty ones.
            features.clear()
            content.features.clear()


def estimate_clip_bytes(root: str, clips: Sequence[Clip], settings: ClipSettings) -> int:
    """Upper estimate of a clip's mean prepared size, from the headers of some of the mp4 files.

    From the frames' pixels, not from the mp4 files' sizes: a still scene is 30 times larger as JPEG, a lively one 7.
    """
    sizes = []
    for clip in clips[:: max(1, len(clips) // _NUM_PROBED)]:
        try:
            with local_clip(root, clip.clip_id) as folder:
                pixels = video.count_stored_pixels(distribution.video_path(folder, clip.clip_id), settings.short_side)
        except (video.VideoError, OSError):
            continue  # it will be rejected when its turn comes
        sizes.append(pixels * sum(_BYTES_PER_PIXEL.get(modality, 0) for modality in settings.modalities))
    return int(np.mean(sizes)) if sizes else 0


def _mixing_key(clip: Clip) -> bytes:
    return hashlib.sha256(clip.clip_id.encode()).digest()
