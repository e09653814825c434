"""The files of a data set: which clips lie in which shard, and how a shard is written."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from array_record.python import array_record_module
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.writer import ExampleWriter

from musclemap_jax import taxonomy
from musclemap_jax.data.modalities import stored_modalities
from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw import video
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.remote import local_files, written_locally
from tfds_musclemap.build.sources import find_sources

SHARD_BYTES = 256 << 20
"""Estimated size of a shard."""

_NUM_PROBED = 16

_ARRAY_RECORD_OPTIONS = "group_size:1,uncompressed"
"""Records can be read one at a time. Zstandard, which TFDS chooses, gains only where the picture stands still (fixed
cameras: 40 % of the size), since JPEG images are compressed already. It costs a tenth of the time of the build and of
reading every training clip in every epoch."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard to write: its path as every worker sees it, TFDS's name of the record format, its clips in order."""

    path: str
    file_format: str
    clips: Sequence[Clip]

    def write(self, records: Iterable[bytes]) -> None:
        """Writes the records, also to object stores; a retry overwrites the file."""
        with written_locally(self.path) as local:
            file_format = file_adapters.FileFormat.from_value(self.file_format)
            if file_format != file_adapters.FileFormat.ARRAY_RECORD:
                ExampleWriter(file_format).write(local, enumerate(records))
                return
            with contextlib.closing(array_record_module.ArrayRecordWriter(local, _ARRAY_RECORD_OPTIONS)) as writer:
                for record in records:
                    writer.write(record)


def choose_clips(clips: Sequence[Clip], max_per_split: int | None = None) -> dict[str, list[Clip]]:
    """{split: its clips, or the first ones} for the splits that have clips, in the order of the taxonomy.

    Clips are ordered by a hash of their ids, which mixes the activities and does not change when clips are added.
    """
    mixed = sorted(clips, key=lambda clip: hashlib.sha256(clip.clip_id.encode()).digest())
    chosen = {split: [clip for clip in mixed if clip.split == split][:max_per_split] for split in taxonomy.SPLITS}
    return {split: of_split for split, of_split in chosen.items() if of_split}


def assign_clips(chosen: Mapping[str, Sequence[Clip]], clip_bytes: int) -> dict[str, list[Sequence[Clip]]]:
    """{split: clips of each of its shards}, in order.

    The number of shards follows from ``clip_bytes``, the estimate of a clip's prepared size.
    """
    shards = {}
    for split, of_split in chosen.items():
        num_shards = min(len(of_split), 1 + len(of_split) * clip_bytes // SHARD_BYTES)
        bounds = [round(index * len(of_split) / num_shards) for index in range(num_shards + 1)]
        shards[split] = [of_split[start:end] for start, end in itertools.pairwise(bounds)]
    return shards


def estimate_clip_bytes(root: str, clips: Sequence[Clip], settings: ClipSettings) -> int:
    """Upper estimate of a clip's mean prepared size, from the headers of some of the mp4 files.

    It counts the frames' pixels: as JPEG, a still scene is 30 times as large as its mp4 file, a lively one 7 times.
    """
    bytes_per_pixel = sum(modality.bytes_per_pixel for modality in stored_modalities(settings))
    sizes = []
    for clip in clips[:: max(1, len(clips) // _NUM_PROBED)]:
        videos = [source.name for source in find_sources(root, clip.clip_id, ClipSettings(modalities=()))]
        if len(videos) != 1:
            continue  # the build will reject it
        try:
            with local_files(root, videos) as folder:
                pixels = video.count_stored_pixels(folder / videos[0], settings.short_side)
        except (video.VideoError, OSError):
            continue
        sizes.append(pixels * bytes_per_pixel)
    return int(np.mean(sizes)) if sizes else 0
