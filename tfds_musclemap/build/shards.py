"""The files of a data set: which clips lie in which shard, and how a shard is written."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence

import numpy as np
from array_record.python import array_record_module
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.writer import ExampleWriter

from musclemap_jax import taxonomy
from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.clip_reader import ClipSettings
from tfds_musclemap.build.remote import local_clip, written_locally

SHARD_BYTES = 256 << 20
"""Size that shards are given, by estimate."""

_BYTES_PER_PIXEL = {"rgb": 0.35, "rgb_diff": 1.0, "optical_flow": 0.15}
"""Upper estimates. JPEG at quality 90 with colour at half resolution: 0.2 to 0.3 were seen; PNG of differences: 0.4 to
0.7; two grey JPEGs of flow: 0.04 to 0.11."""

_NUM_PROBED = 16

_ARRAY_RECORD_OPTIONS = "group_size:1,uncompressed"
"""One record at a time can be read. JPEG images are compressed already: Zstandard, which TFDS takes, finds more where a
picture stands still (fixed cameras: 40 % of the size), for a tenth of the time of the build and of every training clip,
epoch for epoch."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard to write.

    Attributes:
      path: the file, as every worker sees it.
      file_format: TFDS's name of the record format.
      clips: its clips, in order.
    """

    path: str
    file_format: str
    clips: Sequence[Clip]

    def write(self, records: Iterable[bytes]) -> None:
        """Writes the records, on object stores too; anew where the file is there, as after a retry."""
        with written_locally(self.path) as local:
            file_format = file_adapters.FileFormat.from_value(self.file_format)
            if file_format != file_adapters.FileFormat.ARRAY_RECORD:
                ExampleWriter(file_format).write(local, enumerate(records))
                return
            with contextlib.closing(
                array_record_module.ArrayRecordWriter(os.fspath(local), _ARRAY_RECORD_OPTIONS)
            ) as writer:
                for record in records:
                    writer.write(record)


def assign_clips(clips: Sequence[Clip], clip_bytes: int) -> dict[str, list[list[Clip]]]:
    """For each split that has clips, in the order of the taxonomy, the clips of its shards.

    A hash of the name mixes the activities over the shards, and does not change when clips are added.

    Args:
      clips: the raw data set's annotations.
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


def estimate_clip_bytes(root: str, clips: Sequence[Clip], settings: ClipSettings) -> int:
    """Upper estimate of a clip's mean prepared size, from the headers of some of the mp4 files.

    From the frames' pixels, not from the mp4 files' sizes: a still scene is 30 times larger as JPEG, a lively one 7.
    """
    sizes = []
    for clip in clips[:: max(1, len(clips) // _NUM_PROBED)]:
        try:
            with local_clip(root, clip.clip_id) as folder:
                pixels = video.count_stored_pixels(raw_dataset.video_path(folder, clip.clip_id), settings.short_side)
        except (video.VideoError, OSError):
            continue  # it will be rejected when its turn comes
        sizes.append(pixels * sum(_BYTES_PER_PIXEL.get(modality, 0) for modality in settings.modalities))
    return int(np.mean(sizes)) if sizes else 0


def _mixing_key(clip: Clip) -> bytes:
    return hashlib.sha256(clip.clip_id.encode()).digest()
