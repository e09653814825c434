"""What the stored skeletons show: whether they belong to their videos, and how much of them a model sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.skeletons.evidence import SkeletonEvidence, clip_fault, data_set_faults, evidence_of_joints

NUM_PERSONS = InputSpec.num_persons
"""P, the persons that a model takes by default: the first ones of a clip."""

_LEAST_COVERED = 0.8
_MIN_CLIPS = 3
_MAX_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class SkeletonFacts:
    """Facts about a clip's skeleton.

    Attributes:
      evidence: What it shows.
      seen_fraction: Fraction of the frames with a person.
      covered_fraction: Fraction of the frames with one of the first P persons, which is what a model sees.
      absent_fraction: Fraction of the joints that are absent where a person is there.
    """

    evidence: SkeletonEvidence
    seen_fraction: float
    covered_fraction: float
    absent_fraction: float


class Clip(Protocol):
    """What is needed of a clip's facts."""

    @property
    def clip_id(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def num_frames(self) -> int: ...
    @property
    def skeleton(self) -> SkeletonFacts | None: ...


def skeleton_facts(skeleton: np.ndarray, layout: str, fps: float, size: tuple[int, int] | None) -> SkeletonFacts:
    """Facts about joints (T, P, V, 3) in pixels of frames of that (height, width), where it is known; T at least 1."""
    present = skeleton[..., 2] > 0
    is_there = np.any(present, axis=-1)
    return SkeletonFacts(
        evidence_of_joints(skeleton, layout, fps, size),
        seen_fraction=float(np.any(is_there, axis=1).mean()),
        covered_fraction=float(np.any(is_there[:, :NUM_PERSONS], axis=1).mean()),
        absent_fraction=float(1 - present[is_there].mean()) if is_there.any() else 0.0,
    )


def skeleton_faults(clips: Iterable[Clip]) -> list[str]:
    """Skeletons that cannot belong to their videos, one line each."""
    found = [(clip, clip.skeleton.evidence) for clip in clips if clip.skeleton]
    return [
        *(f"{clip.split}, {clip.clip_id}: {fault}" for clip, evidence in found if (fault := clip_fault(evidence))),
        *(f"skeletons: {fault}" for fault in data_set_faults(evidence for _, evidence in found)),
    ]


def skeleton_notes(clips: Iterable[Clip]) -> list[str]:
    """What is unusual about the skeletons, one line each."""
    found = [(clip, clip.skeleton) for clip in clips if clip.skeleton and clip.skeleton.seen_fraction]
    hidden = [
        f"{clip.clip_id} ({100 * facts.covered_fraction:.0f} % of {100 * facts.seen_fraction:.0f} %)"
        for clip, facts in found
        if facts.covered_fraction < _LEAST_COVERED * facts.seen_fraction
    ]
    notes = []
    if hidden:
        shown = "; ".join(hidden[:_MAX_SHOWN]) + (f"; and {len(hidden) - _MAX_SHOWN} more" * (len(hidden) > _MAX_SHOWN))
        notes.append(
            f"{len(hidden)} clips where persons are seen for longer than the first {NUM_PERSONS}, whom a model takes: "
            f"{shown}"
        )
    starts = [facts.evidence.first for _, facts in found]
    if len(starts) >= _MIN_CLIPS and min(starts) == 1 and 2 * starts.count(1) >= len(starts):
        notes.append(
            f"no clip has a person in frame 0, {starts.count(1)} of {len(starts)} begin at frame 1: numbered from 1? "
            "Import with --first_frame=1"
        )
    return notes


def skeleton_summary(clips: Sequence[Clip]) -> dict[str, Any]:
    """Fractions over a split's frames, as JSON values; None without skeletons.

    ``frames_with_skeleton``: with a person; ``frames_with_first_persons``: with one of the first P; ``absent_joints``:
    of the joints, where a person is there.
    """
    names = {
        "frames_with_skeleton": "seen_fraction",
        "frames_with_first_persons": "covered_fraction",
        "absent_joints": "absent_fraction",
    }
    found = [(clip.num_frames, clip.skeleton) for clip in clips if clip.skeleton]
    total = max(1, sum(num_frames for num_frames, _ in found))
    return {
        name: sum(num_frames * getattr(facts, attribute) for num_frames, facts in found) / total if found else None
        for name, attribute in names.items()
    }
