"""What the verification holds against a prepared data set: faults, and notes that are no faults."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from musclemap_jax import taxonomy
from tfds_musclemap.build.build_log import StoredClip
from tfds_musclemap.verify.clips import ClipFacts

MUSCLEMAP = "MuscleMap"
"""Name that the manifest gives the authors' release."""

PAPER_CLIPS = 15_004
PAPER_ACTIVITIES = 135
"""Totals of the authors' release, from the paper."""

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set as it was found.

    Attributes:
      clips: facts on every clip, split by split in the order of the records.
      split_sizes: split -> clips that the data set states.
      listed: split -> rows of ``clips.csv``.
      rejected: rows of ``rejected.csv``: clip id, split, reason.
      metadata: that of the data set: ``num_clips``, ``num_rejected``, ``release``.
    """

    clips: Sequence[ClipFacts]
    split_sizes: dict[str, int]
    listed: dict[str, list[StoredClip]]
    rejected: Sequence[tuple[str, str, str]]
    metadata: dict[str, Any]


def find_faults(prepared: Prepared) -> list[str]:
    """Everything that makes figures on this data wrong or leaky; empty if it can be trusted."""
    return [
        *_clip_faults(prepared),
        *_count_faults(prepared),
        *_listing_faults(prepared),
        *_release_faults(prepared),
        *_activity_faults(prepared.clips),
        *_muscle_faults(prepared.clips),
        *_leaks(prepared.clips),
    ]


def find_notes(prepared: Prepared) -> list[str]:
    """What one should know, though it is no fault."""
    notes = []
    for split in taxonomy.SPLITS:
        if not prepared.split_sizes.get(split):
            notes.append(f"{split}: no clips")
    if prepared.rejected:
        named = _some(f"{clip_id} ({reason})" for clip_id, _, reason in prepared.rejected)
        notes.append(f"{len(prepared.rejected)} clips were rejected by the build: {named}")
    unseen = [clip.clip_id for clip in prepared.clips if clip.skeleton_fraction == 0]
    if unseen:
        notes.append(f"{len(unseen)} clips without a person in any frame: {_some(unseen)}")
    for copies in _copies(prepared.clips):
        if len({clip.split for clip in copies}) == 1:
            notes.append(f"{copies[0].split}: the same content twice: {_some(clip.clip_id for clip in copies)}")
    return notes


def _clip_faults(prepared: Prepared) -> list[str]:
    return [f"{clip.split}, {clip.clip_id}: {fault}" for clip in prepared.clips for fault in clip.faults]


def _count_faults(prepared: Prepared) -> list[str]:
    faults = []
    found = Counter(clip.split for clip in prepared.clips)
    for split, stated in prepared.split_sizes.items():
        if found[split] != stated:
            faults.append(f"{split}: the data set states {stated} clips, its files hold {found[split]}")
    accounted = len(prepared.clips) + len(prepared.rejected)
    if accounted != prepared.metadata.get("num_clips"):
        faults.append(
            f"the annotations had {prepared.metadata.get('num_clips')} clips, {len(prepared.clips)} stored and "
            f"{len(prepared.rejected)} rejected are {accounted}"
        )
    repeated = [clip_id for clip_id, count in Counter(clip.clip_id for clip in prepared.clips).items() if count > 1]
    if repeated:
        faults.append(f"clip ids that come more than once: {_some(repeated)}")
    return faults


def _listing_faults(prepared: Prepared) -> list[str]:
    """Where ``clips.csv`` and the records disagree."""
    faults = []
    of_split: dict[str, list[ClipFacts]] = defaultdict(list)
    for clip in prepared.clips:
        of_split[clip.split].append(clip)
    for split in sorted({*of_split, *prepared.listed}, key=taxonomy.SPLITS.index):
        records, rows = of_split[split], prepared.listed.get(split, [])
        different = [record.clip_id for record, row in zip(records, rows, strict=False) if not _agrees(record, row)]
        if len(records) != len(rows):
            faults.append(f"{split}: clips.csv lists {len(rows)} clips, the records are {len(records)}")
        elif different:
            faults.append(f"{split}: clips.csv and {len(different)} records disagree: {_some(different)}")
    return faults


def _agrees(record: ClipFacts, row: StoredClip) -> bool:
    same = (row.clip.clip_id, row.clip.activity, row.clip.muscles, row.num_frames) == (
        record.clip_id, record.activity, record.muscles, record.num_frames
    )  # fmt: skip
    return same and record.size in (None, row.size) and abs(row.fps - record.fps) <= 1e-3 * abs(record.fps)


def _release_faults(prepared: Prepared) -> list[str]:
    """The paper's totals, if the data is of the release that the paper describes."""
    if prepared.metadata.get("release") != MUSCLEMAP:
        return []
    counts = {
        "clips": (prepared.metadata.get("num_clips"), PAPER_CLIPS),
        "activities": (len({clip.activity for clip in prepared.clips}), PAPER_ACTIVITIES),
    }
    return [
        f"the release says {MUSCLEMAP}: expected {expected:,} {name} as in the paper, got {found:,}"
        for name, (found, expected) in counts.items()
        if found != expected
    ]


def _activity_faults(clips: Iterable[ClipFacts]) -> list[str]:
    """Activities that are both known and new."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.activity].add(clip.split)
    return [
        f"activity {activity!r} is in {', '.join(sorted(of_activity, key=taxonomy.SPLITS.index))}: new activities must "
        f"be in no other split"
        for activity, of_activity in sorted(splits.items())
        if of_activity & set(taxonomy.NEW_SPLITS) and of_activity - set(taxonomy.NEW_SPLITS)
    ]


def _muscle_faults(clips: Iterable[ClipFacts]) -> list[str]:
    """Activities whose clips name different regions."""
    regions: dict[str, Counter] = defaultdict(Counter)
    for clip in clips:
        regions[clip.activity][clip.muscles] += 1
    faults = []
    for activity, sets in sorted(regions.items()):
        if len(sets) > 1:
            counted = _some(f"{';'.join(map(str, muscles))} ({count} clips)" for muscles, count in sets.most_common())
            faults.append(f"activity {activity!r} has {len(sets)} different sets of muscles: {counted}")
    return faults


def _leaks(clips: Iterable[ClipFacts]) -> list[str]:
    """Clips of equal content in different splits."""
    return [
        f"the same content in different splits: {_some(f'{clip.split}/{clip.clip_id}' for clip in copies)}"
        for copies in _copies(clips)
        if len({clip.split for clip in copies}) > 1
    ]


def _copies(clips: Iterable[ClipFacts]) -> list[list[ClipFacts]]:
    by_hash: dict[str, list[ClipFacts]] = defaultdict(list)
    for clip in clips:
        if clip.content_hash:
            by_hash[clip.content_hash].append(clip)
    return [copies for copies in by_hash.values() if len(copies) > 1]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return "; ".join(names[:_SHOWN]) + (f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
