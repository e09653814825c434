"""Joining of the tracks of one person: a tracker that loses a person for a moment gives a new number afterwards.

Two tracks are joined if they share no frame and continue each other wherever one hands over to the other: at most 30
frames apart, at the same place, and where either one's motion leads. The last condition keeps two persons apart who
swap places while the tracker sees neither. Before a person is lost, part of the body often is; so any of the last three
detections may be the one that is continued. A track that could continue in two ways is left as it is: a person in two
parts costs poses, a person made of two would teach wrong ones.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from musclemap_jax.data.skeletons.detection import Detection, moved, overlap

LINK_IOU = 0.3
"""Smallest intersection over union of two boxes of one person."""

LINK_GAP_FRAMES = 30
"""Number of frames for which a person may be out of sight."""

LINK_DETECTIONS = 3
"""How many of the last detections of a person may be continued: the box of a body half seen is half as big."""

_CLEAR_LEAD = 0.2
"""How much better than any other continuation of either track the chosen one has to overlap."""

Track = Sequence[Detection]


def join_tracks(tracks: Sequence[Track]) -> list[list[Detection]]:
    """Joins tracks, the surest pair first, until no two are clearly one person.

    The time is proportional to the number of tracks if few of them are within 30 frames of each other.

    Args:
      tracks: Detections in the order of frames; at least one each.

    Returns:
      The persons, each a list of detections in the order of frames. The order of the tracks changes nothing but the
      order of the result.
    """
    joining = _Joining(tracks)
    while pair := joining.surest_pair():
        joining.join(*pair)
    return [list(person) for person in joining.persons.values()]


class _Joining:
    """Persons by number, how well any two continue each other, and the pairs that may be joined, the surest first."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.persons: dict[int, Track] = dict(enumerate(tracks))
        self._scores: dict[int, dict[int, float]] = {number: {} for number in self.persons}
        self._queue: list[tuple[float, int, int]] = []
        for first, second in _near_in_time(tracks):
            self._set_score(first, second)

    def surest_pair(self) -> tuple[int, int] | None:
        """The pair that continues each other best, among those that no third track could be taken for."""
        while self._queue:
            score, first, second = heapq.heappop(self._queue)
            is_current = self._scores.get(first, {}).get(second) == -score
            if is_current and self._is_clear(first, second) and self._is_clear(second, first):
                return first, second
        return None

    def join(self, kept: int, gone: int) -> None:
        """Makes one person of two. Only those that continued either of them can continue both."""
        self.persons[kept] = sorted([*self.persons[kept], *self.persons.pop(gone)], key=lambda each: each.frame)
        neighbours = (self._scores.pop(kept).keys() | self._scores.pop(gone).keys()) - {kept, gone}
        self._scores[kept] = {}
        for other in neighbours:
            self._scores[other].pop(kept, None)
            self._scores[other].pop(gone, None)
        for other in neighbours:
            self._set_score(kept, other)
        for other in neighbours:  # their pairs may have become clear
            for third, score in self._scores[other].items():
                heapq.heappush(self._queue, (-score, min(other, third), max(other, third)))

    def _set_score(self, first: int, second: int) -> None:
        if score := continuity(self.persons[first], self.persons[second]):
            self._scores[first][second] = self._scores[second][first] = score
            heapq.heappush(self._queue, (-score, min(first, second), max(first, second)))

    def _is_clear(self, track: int, chosen: int) -> bool:
        """Whether no track that is there at the same time as the chosen one continues a track nearly as well."""
        least = self._scores[track][chosen] - _CLEAR_LEAD
        return not any(
            score > least and other != chosen and _coincide(self.persons[chosen], self.persons[other])
            for other, score in self._scores[track].items()
        )


def _near_in_time(tracks: Sequence[Track]) -> Iterator[tuple[int, int]]:
    """Pairs of tracks that coincide or are at most LINK_GAP_FRAMES apart."""
    recent: list[int] = []
    for number in sorted(range(len(tracks)), key=lambda each: tracks[each][0].frame):
        begin = tracks[number][0].frame
        recent = [other for other in recent if begin - tracks[other][-1].frame <= LINK_GAP_FRAMES]
        yield from ((other, number) for other in recent)
        recent.append(number)


def continuity(first: Track, second: Track) -> float:
    """How well two tracks continue each other: the smallest overlap at their handovers; 0 for different persons."""
    if first[0].frame > second[0].frame:
        first, second = second, first
    if first[-1].frame < second[0].frame:
        score = _handover(first, len(first) - 1, second, 0)
        return score if score >= LINK_IOU else 0.0
    if not {detection.frame for detection in first}.isdisjoint(detection.frame for detection in second):
        return 0.0
    tracks = (first, second)
    order = sorted(
        (detection.frame, number, place) for number in (0, 1) for place, detection in enumerate(tracks[number])
    )
    smallest = 1.0
    for (_, before, end), (_, after, start) in pairwise(order):
        if before != after:
            smallest = min(smallest, _handover(tracks[before], end, tracks[after], start))
            if smallest < LINK_IOU:
                return 0.0
    return smallest


def _handover(before: Track, end: int, after: Track, start: int) -> float:
    """How well a detection continues the best of the last ones of another track; 0 if it comes too late."""
    places = range(max(end + 1 - LINK_DETECTIONS, 0), end + 1)
    return max(_continuation(before, place, after, start) for place in places)


def _continuation(before: Track, end: int, after: Track, start: int) -> float:
    """Overlap of the boxes of two detections, as seen from either track's motion; 0 if they are too far apart."""
    last, first = before[end], after[start]
    gap = first.frame - last.frame
    if gap > LINK_GAP_FRAMES:
        return 0.0
    # What a person moved in the time before is what is expected of the gap.
    earlier = before[bisect_left(before, last.frame - gap, hi=end, key=_frame)]
    later = after[bisect_right(after, first.frame + gap, lo=start + 1, key=_frame) - 1]
    forward, backward = _shift(earlier, last), _shift(later, first)
    return min(
        overlap(last.box, first.box),
        overlap(moved(last.box, *forward), first.box),
        overlap(last.box, moved(first.box, *backward)),
    )


def _frame(detection: Detection) -> int:
    return detection.frame


def _shift(source: Detection, target: Detection) -> tuple[float, float]:
    """Motion of the centre of the box from one detection to another."""
    (x, y, width, height), (to_x, to_y, to_width, to_height) = source.box, target.box
    return to_x + to_width / 2 - x - width / 2, to_y + to_height / 2 - y - height / 2


def _coincide(first: Track, second: Track) -> bool:
    """Whether two tracks are there at the same time, so that they cannot follow one after the other."""
    return first[0].frame <= second[-1].frame and second[0].frame <= first[-1].frame
