"""Linking of the detections of different frames to persons."""

from __future__ import annotations

import itertools
from collections import Counter
from operator import attrgetter
from typing import NamedTuple

import numpy as np

_LINK_IOU = 0.3
_LINK_GAP_FRAMES = 30


class Detection(NamedTuple):
    """A person in one frame.

    Attributes:
      frame: Number of the frame, from 0.
      idx: The detector's number of the person, or None.
      joints: (V, 3) x, y, score.
      box: x, y, width, height, in the unit of the joints.
      score: The person's score.
    """

    frame: int
    idx: float | None
    joints: np.ndarray
    box: tuple[float, float, float, float]
    score: float


def link_persons(detections: list[Detection]) -> list[list[Detection]]:
    """Groups a clip's detections by person.

    Detections with the same ``idx`` are one person. A detection without one is linked by greedy overlap of boxes to a
    person who has no other detection in its frame: the pair with the largest intersection over union comes first. The
    overlap is at least 0.3, and a person who has not been seen for more than 30 frames takes no further detections. A
    person found by overlap takes the idx of its first detection that has one, since trackers number a person late. An
    idx that two detections of one frame share is ignored: AlphaPose without tracking gives everybody the same one.

    Returns:
      The persons, each a list of detections in the order of frames. The most prominent person comes first: the one with
      the largest sum over the clip of score times area of the box.
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
    by_idx: dict[float | None, list[Detection]] = {}
    in_order = sorted(detections, key=attrgetter("frame"))  # a stable sort: within a frame the order of the file
    for _, found in itertools.groupby(in_order, attrgetter("frame")):
        unknown: list[Detection] = []
        for detection in found:
            by_idx.get(detection.idx, unknown).append(detection)
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
    """Pairs each detection of one frame with the person it continues, or None for a new person.

    Args:
      found: Detections whose idx, if any, belongs to no person yet.
      persons: All persons so far; those whom an idx has already found in this frame include that detection.
      numbered: id() of the lists of persons who have an idx and so take no second one.
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
