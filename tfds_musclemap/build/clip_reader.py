"""Reads one clip of a raw data set: what the builder's worker processes do.

Light on imports (no TFDS, no JAX), since every worker process imports it.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from musclemap_jax.data.modalities import stored_modalities
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings, ClipSize, Frame, RawClip
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, check_file
from musclemap_jax.data.raw.video import VideoError, open_video, scaled_size

MAX_RECORD_BYTES = 2_000_000_000
"""Largest content of a record. A proto ends at 2 GiB; what is left is for the lengths of its parts."""


@dataclasses.dataclass(frozen=True)
class ClipContent:
    """What is stored of a clip besides its annotations, such as the fields of its modalities.

    The size is (height, width) of the stored frames, or that they would have; there is at least one frame.
    """

    num_frames: int
    size: tuple[int, int]
    fps: float
    fields: ClipRecord


def read_clip(root: str | os.PathLike, clip_id: str, settings: ClipSettings) -> ClipContent | ClipError:
    """Decodes a clip's video and makes the fields of its modalities.

    Returns the content, or why the clip is rejected. The same files give the same bytes, on any worker.
    """
    try:
        return _read(RawClip(Path(root), clip_id), settings)
    except (ClipError, OSError) as error:
        return ClipError(" ".join(str(error).split()))


def _read(clip: RawClip, settings: ClipSettings) -> ClipContent:
    # Before the video is decoded, the checks that cost little.
    modalities = stored_modalities(settings)
    files = [modality.find_files(clip, settings) for modality in modalities]
    video_path = _checked_video(clip)
    for path in (path for found in files for path in found):
        _check_file(clip, path)

    name = clip.name(video_path)
    writers = [modality.writer(clip, found, settings) for modality, found in zip(modalities, files, strict=True)]
    shown = []
    try:
        video = open_video(video_path)
        for source in video.frames:
            frame = Frame(source.image(settings.short_side, "yuvj420p"), settings.jpeg_quality)
            for writer in writers:
                writer.add(frame)
            shown.append(source.number)
            check_size(name, sum(writer.num_bytes for writer in writers))
    except VideoError as error:
        raise ClipError(f"{name}: {error}") from error
    stored_size = scaled_size(video.source_size, settings.short_side)
    size = ClipSize(len(shown), stored_size, video.source_size, tuple(shown) if video.has_variable_rate else None)
    fields: ClipRecord = {}
    for writer in writers:
        fields |= writer.fields(size)
    return ClipContent(len(shown), stored_size, video.fps, fields)


def check_size(name: str, num_bytes: int) -> None:
    """Raises ClipError if a record with this much content is too large; ``name`` is that of the clip's video."""
    if num_bytes > MAX_RECORD_BYTES:
        raise ClipError(
            f"{name}: more than the {MAX_RECORD_BYTES:,} bytes that a record can hold: cut the clip into several, or "
            f"lower short_side or jpeg_quality"
        )


def _checked_video(clip: RawClip) -> Path:
    try:
        path = raw_dataset.find_video(clip.root, clip.clip_id)
    except LinkError as error:
        path = raw_dataset.video_path(clip.root, clip.clip_id)
        raise ClipError(f"{clip.name(path)}: {error}") from error
    _check_file(clip, path)
    return path


def _check_file(clip: RawClip, path: Path) -> None:
    try:
        check_file(clip.root, path)
    except LinkError as error:
        raise ClipError(f"{clip.name(path)}: {error}") from error
