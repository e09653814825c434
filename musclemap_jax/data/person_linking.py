"""Which detections of different frames are the same person."""

from __future__ import annotations

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

    By ``idx``; where a detection has none, or two of a frame share one, by greedy overlap of boxes: the pair with the
    largest intersection over union first (at least 0.3; a person not seen for more than 30 frames is gone).

    Returns:
      The persons, each a list of detections in the order of frames; ordered by the sum over the clip of score times
      area of the box, largest first.
    """
    return sorted(_link(detections), key=_prominence, reverse=True)


def _prominence(person: list[Detection]) -> float:
    return sum(max(detection.score, 0.0) * detection.box[2] * detection.box[3] for detection in person)


def _link(detections: list[Detection]) -> list[list[Detection]]:
    detections = sorted(detections, key=lambda detection: detection.frame)  # stable: the file's order within a frame
    keys = [(detection.frame, detection.idx) for detection in detections]
    if any(idx is None for _, idx in keys) or len(set(keys)) != len(keys):
        return _link_by_overlap(detections)
    persons: dict[float, list[Detection]] = {}
    for detection in detections:
        persons.setdefault(detection.idx, []).append(detection)
    return list(persons.values())


def _link_by_overlap(detections: list[Detection]) -> list[list[Detection]]:
    persons: list[list[Detection]] = []
    frames: dict[int, list[Detection]] = {}
    for detection in detections:
        frames.setdefault(detection.frame, []).append(detection)
    for frame, found in frames.items():
        recent = [person for person in persons if frame - person[-1].frame <= _LINK_GAP_FRAMES]
        pairs = [
            (_overlap(person[-1].box, detection.box), place, number)
            for place, person in enumerate(recent)
            for number, detection in enumerate(found)
        ]
        taken_persons, taken = set(), set()
        for overlap, place, number in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if overlap >= _LINK_IOU and place not in taken_persons and number not in taken:
                recent[place].append(found[number])
                taken_persons.add(place)
                taken.add(number)
        persons += [[detection] for number, detection in enumerate(found) if number not in taken]
    return persons


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0
