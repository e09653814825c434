"""Linking of the detections of different frames to persons."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from musclemap_jax.data.skeletons.detection import Box, Detection, overlap
from musclemap_jax.data.skeletons.track_joining import LINK_DETECTIONS, LINK_GAP_FRAMES, LINK_IOU, join_tracks


def link_persons(detections: list[Detection]) -> list[list[Detection]]:
    """Groups a clip's detections by person: by the rule of `PersonLinker`, then by that of `track_joining`.

    An idx that two detections of one frame share is ignored: AlphaPose without tracking gives everybody the same one.

    Returns:
      The persons, each a list of detections in the order of frames, the most prominent one first.
    """
    linker = PersonLinker()
    persons: dict[int, list[Detection]] = {}
    # A stable sort: within a frame the order of the file.
    ordered = sorted(_without_shared_idx(detections), key=lambda detection: detection.frame)
    for _, group in groupby(ordered, key=lambda detection: detection.frame):
        found = list(group)
        for detection, number in zip(found, linker.link(found), strict=True):
            persons.setdefault(number, []).append(detection)
    return sorted(join_tracks(list(persons.values())), key=prominence, reverse=True)


def prominence(person: Sequence[Detection]) -> float:
    """The sum of score times area of the box over the frames."""
    return sum(max(detection.score, 0.0) * detection.box[2] * detection.box[3] for detection in person)


def _without_shared_idx(detections: list[Detection]) -> list[Detection]:
    uses = Counter((detection.frame, detection.idx) for detection in detections)
    shared = {idx for (_, idx), count in uses.items() if count > 1}
    return [detection._replace(idx=None) if detection.idx in shared else detection for detection in detections]


@dataclasses.dataclass
class _Person:
    """What linking needs to know of a person: frames and boxes of the last detections, and whether there is an idx."""

    number: int
    last: list[tuple[int, Box]]
    has_idx: bool

    def add(self, frame: int, box: Box) -> None:
        self.last = [*self.last, (frame, box)][-LINK_DETECTIONS:]

    def boxes(self, frame: int) -> list[Box]:
        """The boxes that a detection of a later frame may continue; none if the person is in that frame already."""
        if self.last[-1][0] == frame:
            return []
        return [box for seen, box in self.last if frame - seen <= LINK_GAP_FRAMES]


class PersonLinker:
    """Numbers the persons of a video while it is read, from 1 in the order of their first appearance.

    Detections with the same ``idx`` are one person. A detection without one is linked by greedy overlap of boxes to a
    person who has no other detection in its frame: the pair with the largest intersection over union comes first, of
    the detection's box and any of the person's last three in the last 30 frames; it is at least 0.3. A person found by
    overlap takes the idx of its first detection that has one, since trackers number a person late.

    A person without an idx is forgotten when out of sight for too long, so that memory does not grow with the video.
    """

    def __init__(self) -> None:
        self._persons: list[_Person] = []
        self._by_idx: dict[float, _Person] = {}
        self._num_persons = 0
        self._last_frame = -1

    def link(self, found: Sequence[Detection]) -> list[int]:
        """Numbers of the persons of one frame.

        Args:
          found: The frame's detections, which share no ``idx``; frames come in ascending order.

        Raises:
          ValueError: Detections of several frames, or of a frame that is not after the last one.
        """
        if not found:
            return []
        frame = found[0].frame
        if frame <= self._last_frame or any(detection.frame != frame for detection in found):
            frames = sorted({detection.frame for detection in found})
            raise ValueError(f"expected the detections of one frame after frame {self._last_frame}, got {frames}")
        self._last_frame = frame
        self._persons = [person for person in self._persons if person.has_idx or person.boxes(frame)]

        persons = [None if detection.idx is None else self._by_idx.get(detection.idx) for detection in found]
        for detection, person in zip(found, persons, strict=True):
            if person is not None:
                person.add(frame, detection.box)
        unknown = [place for place, person in enumerate(persons) if person is None]
        continued = self._match_by_overlap([found[place] for place in unknown])
        for place, person in zip(unknown, continued, strict=True):
            persons[place] = self._seen(found[place], person)
        return [person.number for person in persons if person is not None]

    def _seen(self, detection: Detection, person: _Person | None) -> _Person:
        """Adds a detection to the person whom it continues, or to a new one."""
        if person is None:
            self._num_persons += 1
            person = _Person(self._num_persons, [], has_idx=False)
            self._persons.append(person)
        person.add(detection.frame, detection.box)
        if detection.idx is not None:
            self._by_idx[detection.idx] = person
            person.has_idx = True
        return person

    def _match_by_overlap(self, found: list[Detection]) -> list[_Person | None]:
        """The person whom each detection of one frame continues, or None for a new person.

        Args:
          found: Detections whose idx, if any, belongs to no person yet.
        """
        pairs = [
            (max(overlap(box, detection.box) for box in boxes), place, number)
            for place, person in enumerate(self._persons)
            if found and (boxes := person.boxes(found[0].frame))
            for number, detection in enumerate(found)
            if detection.idx is None or not person.has_idx
        ]
        matches: dict[int, int] = {}
        for common, place, number in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if common >= LINK_IOU and place not in matches.values() and number not in matches:
                matches[number] = place
        return [self._persons[matches[number]] if number in matches else None for number in range(len(found))]


def joints_by_person(persons: list[list[Detection]], num_frames: int, num_joints: int, first: int = 0) -> np.ndarray:
    """(T, P, V, 3) float32 joints of linked persons of frames `first` to `first + T - 1`; zeros where absent."""
    skeleton = np.zeros((num_frames, len(persons), num_joints, 3), np.float32)
    for place, person in enumerate(persons):
        for detection in person:
            skeleton[detection.frame - first, place] = detection.joints
    return skeleton
