"""The checks of a prepared data set: faults, and notes about what is unusual but not wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from musclemap_jax import taxonomy
from tfds_musclemap.build.build_log import StoredClip
from tfds_musclemap.importing.release_clips import MUSCLEMAP
from tfds_musclemap.verify.clips import ClipFacts
from tfds_musclemap.verify.near_duplicates import MAX_CLIPS, near_duplicates
from tfds_musclemap.verify.prepared import Prepared
from tfds_musclemap.verify.skeleton_evidence import skeleton_faults, skeleton_notes

PAPER_CLIPS = 15_004
PAPER_ACTIVITIES = 135
"""The release's totals according to the paper."""

_MAX_SHOWN = 5


def find_faults(prepared: Prepared) -> list[str]:
    """Everything that would make metrics on this data wrong or optimistic, one line each."""
    return [
        *([] if prepared.clips else ["no clips: the data set is empty"]),
        *(f"{clip.split}, {clip.clip_id}: {fault}" for clip in prepared.clips for fault in clip.faults),
        *_count_faults(prepared),
        *_listing_faults(prepared),
        *_release_faults(prepared),
        *_activity_faults(prepared.clips),
        *_muscle_faults(prepared.clips),
        *_leaks(prepared.clips),
        *skeleton_faults(prepared.clips),
    ]


def find_notes(prepared: Prepared) -> list[str]:
    """What is worth knowing about the data but is not a fault, one line each."""
    notes = [f"{split}: no clips" for split in taxonomy.SPLITS if not prepared.split_sizes.get(split)]
    if prepared.rejected:
        examples = _first_few(f"{clip_id} ({reason})" for clip_id, _, reason in prepared.rejected)
        notes.append(f"{len(prepared.rejected)} clips were rejected by the build: {examples}")
    unseen = [clip.clip_id for clip in prepared.clips if clip.skeleton and not clip.skeleton.seen_fraction]
    if unseen:
        notes.append(f"{len(unseen)} clips without a person in any frame: {_first_few(unseen)}")
    for copies in _duplicates(prepared.clips):
        if len({clip.split for clip in copies}) == 1:
            notes.append(f"{copies[0].split}: the same content twice: {_first_few(clip.clip_id for clip in copies)}")
    more = (skeleton_notes, _spelling_notes, _likeness_notes)
    return [*notes, *(note for find in more for note in find(prepared.clips))]


def _spelling_notes(clips: Iterable[ClipFacts]) -> list[str]:
    """Activities that differ in case or punctuation alone, and so may be one."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        spellings[taxonomy.activity_key(clip.activity)].add(clip.activity)
    return [
        f"activities that differ in case or punctuation alone: {_first_few(map(repr, sorted(names)))}"
        for _, names in sorted(spellings.items())
        if len(names) > 1
    ]


def _likeness_notes(clips: Sequence[ClipFacts]) -> list[str]:
    """Clips of different splits that look alike."""
    if len(clips) > MAX_CLIPS:
        return [f"clips that look alike were not searched for: more than {MAX_CLIPS:,} clips"]
    return [
        f"clips of different splits look alike: {_first_few(f'{clip.split}/{clip.clip_id}' for clip in alike)}"
        for alike in near_duplicates(clips)
    ]


def _count_faults(prepared: Prepared) -> list[str]:
    found = Counter(clip.split for clip in prepared.clips)
    faults = [
        f"{split}: the data set states {stated} clips, its files contain {found[split]}"
        for split, stated in prepared.split_sizes.items()
        if found[split] != stated
    ]
    accounted = len(prepared.clips) + len(prepared.rejected)
    if accounted != prepared.metadata.get("num_clips"):
        faults.append(
            f"expected {prepared.metadata.get('num_clips')} clips as in the annotations, got {accounted}: "
            f"{len(prepared.clips)} stored and {len(prepared.rejected)} rejected"
        )
    repeated = [clip_id for clip_id, count in Counter(clip.clip_id for clip in prepared.clips).items() if count > 1]
    if repeated:
        faults.append(f"repeated clip ids: {_first_few(repeated)}")
    return faults


def _listing_faults(prepared: Prepared) -> list[str]:
    """Disagreements between ``clips.csv`` and the records."""
    faults = []
    clips: dict[str, list[ClipFacts]] = defaultdict(list)
    for clip in prepared.clips:
        clips[clip.split].append(clip)
    for split in sorted({*clips, *prepared.listed}, key=taxonomy.SPLITS.index):
        records, rows = clips[split], prepared.listed.get(split, [])
        different = [record.clip_id for record, row in zip(records, rows, strict=False) if not _agrees(record, row)]
        if len(records) != len(rows):
            faults.append(f"{split}: clips.csv lists {len(rows)} clips, but there are {len(records)} records")
        elif different:
            faults.append(f"{split}: clips.csv disagrees with {len(different)} records: {_first_few(different)}")
    return faults


def _agrees(record: ClipFacts, row: StoredClip) -> bool:
    same = (row.clip.clip_id, row.clip.activity, row.clip.muscles, row.num_frames) == (
        record.clip_id, record.activity, record.muscles, record.num_frames
    )  # fmt: skip
    return same and record.size in (None, row.size) and abs(row.fps - record.fps) <= 1e-3 * abs(record.fps)


def _release_faults(prepared: Prepared) -> list[str]:
    """Deviations from the paper's totals, if the data is the release that the paper describes."""
    if prepared.metadata.get("release") != MUSCLEMAP:
        return []
    counts = {
        "clips": (prepared.metadata.get("num_clips"), PAPER_CLIPS),
        "activities": (len({clip.activity for clip in prepared.clips}), PAPER_ACTIVITIES),
    }
    return [
        f"release {MUSCLEMAP}: expected {expected:,} {name} as in the paper, got {found:,}"
        for name, (found, expected) in counts.items()
        if found != expected
    ]


def _activity_faults(clips: Iterable[ClipFacts]) -> list[str]:
    """Activities that are both known and new, however they are spelled."""
    splits: dict[str, set[str]] = defaultdict(set)
    spellings: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        key = taxonomy.activity_key(clip.activity)
        splits[key].add(clip.split)
        spellings[key].add(clip.activity)
    return [
        f"activity {' or '.join(map(repr, sorted(spellings[key])))} is in "
        f"{', '.join(sorted(of_activity, key=taxonomy.SPLITS.index))}: a new activity must not be in other splits"
        for key, of_activity in sorted(splits.items())
        if of_activity & set(taxonomy.NEW_SPLITS) and of_activity - set(taxonomy.NEW_SPLITS)
    ]


def _muscle_faults(clips: Iterable[ClipFacts]) -> list[str]:
    """Activities whose clips have different regions."""
    regions: dict[str, Counter] = defaultdict(Counter)
    for clip in clips:
        regions[clip.activity][clip.muscles] += 1
    faults = []
    for activity, sets in sorted(regions.items()):
        if len(sets) > 1:
            counts = [f"{';'.join(map(str, muscles))} ({count} clips)" for muscles, count in sets.most_common()]
            faults.append(f"activity {activity!r} has {len(sets)} different sets of regions: {_first_few(counts)}")
    return faults


def _leaks(clips: Iterable[ClipFacts]) -> list[str]:
    """Clips with the same content in different splits."""
    return [
        f"the same content in different splits: {_first_few(f'{clip.split}/{clip.clip_id}' for clip in copies)}"
        for copies in _duplicates(clips)
        if len({clip.split for clip in copies}) > 1
    ]


def _duplicates(clips: Iterable[ClipFacts]) -> list[list[ClipFacts]]:
    by_hash: dict[str, list[ClipFacts]] = defaultdict(list)
    for clip in clips:
        if clip.content_hash:
            by_hash[clip.content_hash].append(clip)
    return [copies for copies in by_hash.values() if len(copies) > 1]


def _first_few(names: Iterable[str]) -> str:
    names = list(names)
    return "; ".join(names[:_MAX_SHOWN]) + (f"; and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else "")
