"""What the verification learns of each prepared clip, by reading and decoding all of it; runs in worker processes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.raw import video
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from musclemap_jax.skeleton_layouts import LAYOUTS
from tfds_musclemap.build.frame_encoder import decode_grey_jpeg, decode_png
from tfds_musclemap.source import IMAGE_FEATURES, ClipRecord, ClipSource

_CHUNK = 16
"""Clips of one call of a worker."""

_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "frames": video.decode_jpeg,
    "rgb_diff": decode_png,
    "flow_x": decode_grey_jpeg,
    "flow_y": decode_grey_jpeg,
}


@dataclasses.dataclass(frozen=True)
class ClipFacts:
    """A prepared clip as it was found.

    Attributes:
      clip_id: its name.
      split: its split.
      activity: its activity.
      muscles: indices of its regions, ascending.
      num_frames: T.
      fps: frames per second.
      size: (height, width) of its images; None where it has none.
      num_bytes: of its images and joints, as stored.
      content_hash: of all its images, or of its joints where it has none; None where there is nothing to compare.
      skeleton_fraction: share of frames with a joint, 0 to 1; None where no skeleton is stored.
      num_persons: P; 0 where no skeleton is stored.
      faults: what is wrong with it, one line each.
    """

    clip_id: str
    split: str
    activity: str
    muscles: tuple[int, ...]
    num_frames: int
    fps: float
    size: tuple[int, int] | None
    num_bytes: int
    content_hash: str | None
    skeleton_fraction: float | None
    num_persons: int
    faults: tuple[str, ...]


def examine_split(folder: Path, split: str, pool: WorkerPool, advance: Callable[[int], object]) -> Iterator[ClipFacts]:
    """Reads every clip of a split, in order.

    Args:
      folder: of the prepared data.
      split: its name.
      pool: does the work.
      advance: is told of the number of clips that are done.
    """
    num_clips = len(ClipSource(folder, split))
    starts = range(0, num_clips, _CHUNK)
    calls = ((str(folder), split, start, min(start + _CHUNK, num_clips)) for start in starts)
    for start, facts in zip(starts, pool.map(examine, calls), strict=True):
        if isinstance(facts, WorkerCrash):
            facts = [_unreadable(split, start, str(facts))]
        yield from facts
        advance(min(_CHUNK, num_clips - start))


def examine(folder: str, split: str, start: int, end: int) -> list[ClipFacts]:
    """Facts on the clips at the places start to end - 1 of a split."""
    source = _source(folder, split)
    facts = []
    for place in range(start, end):
        try:
            record = source[place]
        except Exception as error:  # whatever a damaged record makes of the parsers
            facts.append(_unreadable(split, place, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            facts.append(facts_of(record, split))
    return facts


def facts_of(record: ClipRecord, split: str) -> ClipFacts:
    """Facts on one record."""
    faults: list[str] = []
    sizes: set[tuple[int, int]] = set()
    lengths = {}
    digest, num_bytes = hashlib.sha256(), 0
    for name in IMAGE_FEATURES:
        if name in record:
            lengths[name] = len(record[name])
            sizes |= _decode_all(name, record[name], faults)
            for data in record[name]:
                digest.update(len(data).to_bytes(8, "little") + data)
                num_bytes += len(data)
    has_content = bool(num_bytes)
    share, num_persons = None, 0
    if "skeleton" in record:
        skeleton = record["skeleton"]
        lengths["skeleton"] = len(skeleton)
        num_bytes += skeleton.nbytes
        share, num_persons = float((skeleton[..., 2] > 0).any(axis=(1, 2)).mean()), skeleton.shape[1]
        faults += _skeleton_faults(record)
        if not has_content and share:
            digest.update(skeleton.tobytes())
            has_content = True
    if len(sizes) > 1:
        faults.append(f"images of different sizes: {', '.join(f'{h}x{w}' for h, w in sorted(sizes))}")
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        faults.append(f"expected one length of at least 1, got {lengths}")
    if not 0 < record["fps"] < math.inf:
        faults.append(f"fps {record['fps']}")
    muscles = tuple(np.flatnonzero(record["muscles"]).tolist())
    if not muscles or not np.isin(record["muscles"], (0, 1)).all():
        faults.append(f"muscles {record['muscles'].tolist()}: expected 0 and 1, at least one 1")
    return ClipFacts(
        clip_id=record["clip_id"],
        split=split,
        activity=record["activity"],
        muscles=muscles,
        num_frames=max(lengths.values(), default=0),
        fps=record["fps"],
        size=min(sizes, default=None),
        num_bytes=num_bytes,
        content_hash=digest.hexdigest() if has_content else None,
        skeleton_fraction=share,
        num_persons=num_persons,
        faults=tuple(faults),
    )


def _decode_all(name: str, images: list[bytes], faults: list[str]) -> set[tuple[int, int]]:
    """The sizes of a stream's images; those that cannot be decoded are added to the faults, the first by number."""
    sizes, broken = set(), []
    for place, data in enumerate(images):
        try:
            sizes.add(_DECODERS[name](data).shape[:2])
        except (ValueError, cv2.error):
            broken.append(place)
    if broken:
        faults.append(f"{name}: {len(broken)} images that cannot be decoded, the first is number {broken[0]}")
    return sizes


def _skeleton_faults(record: ClipRecord) -> list[str]:
    skeleton, layout = record["skeleton"], record["skeleton_layout"]
    if layout not in LAYOUTS or skeleton.ndim != 4 or skeleton.shape[2:] != (LAYOUTS[layout].num_joints, 3):
        return [f"skeleton of shape {skeleton.shape} in layout {layout}"]
    if not np.isfinite(skeleton).all():
        return ["skeleton: numbers that are not finite"]
    scores = skeleton[..., 2]
    if scores.min() < 0 or scores.max() > 1 or skeleton[scores == 0].any():
        return ["skeleton: expected scores from 0 to 1, and absent joints at 0"]
    return []


def _unreadable(split: str, place: int, reason: str) -> ClipFacts:
    fault = f"a record that cannot be read: {reason}"
    return ClipFacts(f"record {place}", split, "", (), 0, math.nan, None, 0, None, None, 0, (fault,))


@functools.lru_cache(maxsize=8)
def _source(folder: str, split: str) -> ClipSource:
    return ClipSource(folder, split)
