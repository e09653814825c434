"""Facts about each prepared clip, found by reading and decoding all of it; runs in worker processes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.modalities import IMAGE_FIELDS
from musclemap_jax.data.modalities.fields import ClipRecord, Images
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool
from musclemap_jax.skeleton_layouts import LAYOUTS
from tfds_musclemap.source import ClipSource
from tfds_musclemap.verify.signature import signature, signature_frames
from tfds_musclemap.verify.skeleton_evidence import SkeletonFacts, skeleton_facts

_CHUNK_SIZE = 16
"""Clips per call of a worker."""


@dataclasses.dataclass(frozen=True)
class ClipFacts(Clip):
    """A prepared clip: its annotations as stored, and facts about its content.

    Attributes:
      num_frames: T.
      fps: Frames per second.
      size: (height, width) of its images; None if it has none.
      num_bytes: Stored size of its images and joints.
      content_hash: Hash of its images, or of its joints if it has no images; None if it has neither.
      skeleton: Facts about its skeleton; None if none is stored, or its shape is invalid.
      faults: One line for each thing that is wrong with it.
      signature: What its frames look like, see signature.py; None without frames.
    """

    num_frames: int
    fps: float
    size: tuple[int, int] | None
    num_bytes: int
    content_hash: str | None
    skeleton: SkeletonFacts | None
    faults: tuple[str, ...]
    signature: bytes | None = None


def examine_split(folder: Path, split: str, pool: WorkerPool, advance: Callable[[int], object]) -> Iterator[ClipFacts]:
    """Reads every clip of a split, in order; calls ``advance`` with the number of clips that were just done."""
    num_clips = len(ClipSource(folder, split))
    starts = range(0, num_clips, _CHUNK_SIZE)
    calls = ((str(folder), split, start, min(start + _CHUNK_SIZE, num_clips)) for start in starts)
    for start, facts in zip(starts, pool.map(examine_clips, calls), strict=True):
        if isinstance(facts, WorkerCrash):
            end = min(start + _CHUNK_SIZE, num_clips)  # a fact for each record: their places are the records' numbers
            reason = f"{facts} (at one of the records {start} to {end - 1})"
            facts = [_unreadable(split, index, reason) for index in range(start, end)]
        yield from facts
        advance(min(_CHUNK_SIZE, num_clips - start))


def examine_clips(folder: str, split: str, start: int, end: int) -> list[ClipFacts]:
    """Facts about the clips with the indices start to end - 1 of a split."""
    source = _source(folder, split)
    facts = []
    for index in range(start, end):
        try:
            record = source[index]
        except Exception as error:  # a damaged record may raise anything
            facts.append(_unreadable(split, index, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            facts.append(examine_record(record, split, len(source.regions), source.allow_background))
    return facts


def examine_record(record: ClipRecord, split: str, num_regions: int, allow_background: bool) -> ClipFacts:
    """Facts about one record of a data set with K muscle regions, where clips without an active one may be allowed."""
    faults: list[str] = []
    sizes: set[tuple[int, int]] = set()
    lengths = {}
    digest, num_bytes = hashlib.sha256(), 0
    for name, field in IMAGE_FIELDS.items():
        if name in record:
            lengths[name] = len(record[name])
            sizes |= _decode_all(name, field, record[name], faults)
            for data in record[name]:
                digest.update(len(data).to_bytes(8, "little") + data)
                num_bytes += len(data)
    has_content = bool(num_bytes)
    facts = None
    if "skeleton" in record:
        skeleton = record["skeleton"]
        lengths["skeleton"] = len(skeleton)
        num_bytes += skeleton.nbytes
        skeleton_faults = _skeleton_faults(record)
        faults += skeleton_faults
        if len(skeleton) and not skeleton_faults:
            facts = skeleton_facts(skeleton, record["skeleton_layout"], record["fps"], min(sizes, default=None))
        if not has_content and not skeleton_faults and (skeleton[..., 2] > 0).any():
            digest.update(skeleton.tobytes())
            has_content = True
    if len(sizes) > 1:
        faults.append(f"images of different sizes: {', '.join(f'{h}x{w}' for h, w in sorted(sizes))}")
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        faults.append(f"expected the same number of frames, at least 1, got {lengths}")
    if not 0 < record["fps"] < math.inf:
        faults.append(f"fps: expected a positive number, got {record['fps']}")
    muscles = tuple(np.flatnonzero(record["muscles"][:num_regions]).tolist())
    if len(record["muscles"]) != num_regions or not np.isin(record["muscles"], (0, 1)).all():
        faults.append(f"muscles: expected {num_regions} times 0 or 1, got {record['muscles'].tolist()}")
    elif not muscles and not allow_background:
        faults.append("muscles: expected at least one 1, got none")
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
        skeleton=facts,
        faults=tuple(faults),
        signature=_signature(record),
    )


def _decode_all(name: str, field: Images, images: list[bytes], faults: list[str]) -> set[tuple[int, int]]:
    """The sizes of an image sequence; images that cannot be decoded are reported in ``faults``."""
    sizes, broken = set(), []
    for index, data in enumerate(images):
        try:
            sizes.add(field.decode(data).shape[:2])
        except (ValueError, cv2.error):
            broken.append(index)
    if broken:
        faults.append(f"{name}: {len(broken)} images cannot be decoded, the first is number {broken[0]}")
    return sizes


def _signature(record: ClipRecord) -> bytes | None:
    images = record.get("frames", ())
    if not images:
        return None
    try:
        return signature([decode_jpeg(images[index]) for index in signature_frames(len(images))])
    except (ValueError, cv2.error):  # reported as a fault of the clip
        return None


def _skeleton_faults(record: ClipRecord) -> list[str]:
    skeleton, layout = record["skeleton"], record["skeleton_layout"]
    if layout not in LAYOUTS or skeleton.ndim != 4 or skeleton.shape[2:] != (LAYOUTS[layout].num_joints, 3):
        return [f"skeleton: shape {skeleton.shape} does not fit layout {layout}"]
    if not np.isfinite(skeleton).all():
        return ["skeleton: some numbers are not finite"]
    scores = skeleton[..., 2]
    if (scores < 0).any() or (scores > 1).any() or skeleton[scores == 0].any():
        return ["skeleton: expected scores from 0 to 1, and zeros for absent joints"]
    return []


def _unreadable(split: str, index: int, reason: str) -> ClipFacts:
    fault = f"cannot be read: {reason}"
    return ClipFacts(f"record {index}", split, "", (), 0, math.nan, None, 0, None, None, (fault,))


@functools.lru_cache(maxsize=8)
def _source(folder: str, split: str) -> ClipSource:
    return ClipSource(folder, split)
