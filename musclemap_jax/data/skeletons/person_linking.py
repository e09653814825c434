"""Which detections of different frames are the same person."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

_LINK_IOU = 0.3
_LINK_GAP_FRAMES = 30


class Detection(NamedTuple):
    """A person in one frame.

    Attributes:
      frame: number of the frame, from 0.
      idx: the detector's number of the person, or None.
      joints: (V, 3) x, y, score.
      box: x, y, width, height; in the unit of the joints.
      score: of the person.
    """

    frame: int
    idx: float | None
    joints: np.ndarray
    box: tuple[float, float, float, float]
    score: float


def link_persons(detections: list[Detection]) -> list[list[Detection]]:
    """Groups a clip's detections by person.

    By ``idx``; a detection that has none goes by greedy overlap of boxes to a person whom no other detection of its
    frame is: the pair with the largest intersection over union first (at least 0.3; a person not seen for more than 30
    frames is gone). A person found by overlap takes the idx of the first detection that has one, since trackers begin
    to number a person late. An idx that two detections of one frame share says nothing (AlphaPose without tracking
    gives everybody the same) and counts as none.

    Returns:
      The persons, each a list of detections in the order of frames; ordered by the sum over the clip of score times
      area of the box, largest first.
    """
    return sorted(_link(_without_shared_idx(detections)), key=_prominence, reverse=True)


def _prominence(person: list[Detection]) -> float:
    return sum(max(detection.score, 0.0) * detection.box[2] * detection.box[3] for detection in person)


def _without_shared_idx(detections: list[Detection]) -> list[Detection]:
    uses = Counter((detection.frame, detection.idx) for detection in detections)
    shared = {idx for (_, idx), count in uses.items() if count > 1}
    return [detection._replace(idx=None) if detection.idx in shared else detection for detection in detections]


def _link(detections: list[Detection]) -> list[list[Detection]]:
    persons: list[list[Detection]] = []
    by_idx: dict[float, list[Detection]] = {}
    frames: dict[int, list[Detection]] = {}
    for detection in sorted(detections, key=lambda detection: detection.frame):  # stable: the file's order in a frame
        frames.setdefault(detection.frame, []).append(detection)
    for found in frames.values():
        known = [detection for detection in found if detection.idx in by_idx]
        unknown = [detection for detection in found if detection.idx not in by_idx]
        for detection in known:
            by_idx[detection.idx].append(detection)
        numbered = {id(person) for person in by_idx.values()}
        for detection, person in _match_by_overlap(unknown, persons, numbered):
            if person is None:
                person = []
                persons.append(person)
            person.append(detection)
            if detection.idx is not None:
                by_idx[detection.idx] = person
    return persons


def _match_by_overlap(
    found: list[Detection], persons: list[list[Detection]], numbered: set[int]
) -> list[tuple[Detection, list[Detection] | None]]:
    """For each detection of one frame the person whom it goes on with, None for a new one.

    Args:
      found: detections whose idx, if any, is no person's yet.
      persons: all so far, those of this frame who are known by idx already with their detection.
      numbered: ids of the lists of persons who have an idx, who take no second one.
    """
    if not found:
        return []
    frame = found[0].frame
    recent = [person for person in persons if 0 < frame - person[-1].frame <= _LINK_GAP_FRAMES]
    pairs = [
        (_overlap(person[-1].box, detection.box), place, number)
        for place, person in enumerate(recent)
        for number, detection in enumerate(found)
        if detection.idx is None or id(person) not in numbered
    ]
    matches: dict[int, int] = {}
    for overlap, place, number in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if overlap >= _LINK_IOU and place not in matches.values() and number not in matches:
            matches[number] = place
    return [
        (detection, recent[matches[number]] if number in matches else None) for number, detection in enumerate(found)
    ]


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0
