"""Joining of the tracks of one person: a tracker that loses a person for a moment gives a new number afterwards.

Two tracks are joined if they share no frame and continue each other wherever one hands over to the other: at most 30
frames apart, at the same place, and where either one's motion leads. The last condition keeps two persons apart who
swap places while the tracker sees neither. A track that could continue in two ways is left as it is: a person in two
parts costs poses, a person made of two would teach wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from musclemap_jax.data.skeletons.detection import Detection, moved, overlap

LINK_IOU = 0.3
"""Smallest intersection over union of two boxes of one person."""

LINK_GAP_FRAMES = 30
"""Number of frames for which a person may be out of sight."""

_CLEAR_LEAD = 0.2
"""How much better than any other continuation of either track the chosen one has to overlap."""

Track = Sequence[Detection]


def join_tracks(tracks: Sequence[Track]) -> list[list[Detection]]:
    """Joins tracks, the surest pair first, until no two are clearly one person.

    Args:
      tracks: Detections in the order of frames; at least one each.

    Returns:
      The persons, each a list of detections in the order of frames. The order of the tracks changes nothing but the
      order of the result.
    """
    persons: dict[int, Track] = dict(enumerate(tracks))
    scores: dict[int, dict[int, float]] = {number: {} for number in persons}
    for first, second in combinations(persons, 2):
        _set_score(scores, persons, first, second)
    while pair := _surest_pair(scores, persons):
        kept, gone = pair
        persons[kept] = sorted([*persons[kept], *persons.pop(gone)], key=lambda detection: detection.frame)
        for number in (gone, kept):
            for other in scores[number]:
                del scores[other][number]
            scores[number] = {}
        del scores[gone]
        for other in persons:
            if other != kept:
                _set_score(scores, persons, kept, other)
    return [list(person) for person in persons.values()]


def _set_score(scores: dict[int, dict[int, float]], persons: dict[int, Track], first: int, second: int) -> None:
    if score := continuity(persons[first], persons[second]):
        scores[first][second] = scores[second][first] = score


def _surest_pair(scores: dict[int, dict[int, float]], persons: dict[int, Track]) -> tuple[int, int] | None:
    """The pair of tracks that continue each other best, among those that no third track could be taken for."""
    pairs = [(-score, first, second) for first in scores for second, score in scores[first].items() if first < second]
    for _, first, second in sorted(pairs):
        if _is_clear(first, second, scores, persons) and _is_clear(second, first, scores, persons):
            return first, second
    return None


def _is_clear(track: int, chosen: int, scores: dict[int, dict[int, float]], persons: dict[int, Track]) -> bool:
    """Whether no track that is there at the same time as the chosen one continues a track nearly as well."""
    least = scores[track][chosen] - _CLEAR_LEAD
    return not any(
        score > least and other != chosen and _coincide(persons[chosen], persons[other])
        for other, score in scores[track].items()
    )


def continuity(first: Track, second: Track) -> float:
    """How well two tracks continue each other: the smallest overlap at their handovers; 0 for different persons."""
    if first[0].frame > second[0].frame:
        first, second = second, first
    if second[0].frame - first[-1].frame > LINK_GAP_FRAMES:
        return 0.0
    if not {detection.frame for detection in first}.isdisjoint(detection.frame for detection in second):
        return 0.0
    tracks = (first, second)
    order = sorted(
        (detection.frame, number, place) for number in (0, 1) for place, detection in enumerate(tracks[number])
    )
    smallest = 1.0
    for (_, before, end), (_, after, start) in pairwise(order):
        if before != after:
            smallest = min(smallest, _handover(tracks[before][: end + 1], tracks[after][start:]))
            if smallest < LINK_IOU:
                return 0.0
    return smallest


def _handover(before: Track, after: Track) -> float:
    """Overlap of the boxes where one track ends and another begins, as seen from either one's motion; 0 if too late."""
    end, start = before[-1], after[0]
    gap = start.frame - end.frame
    if gap > LINK_GAP_FRAMES:
        return 0.0
    # What a person moved in the time before is what is expected of the gap.
    earlier = next(detection for detection in before if detection.frame >= end.frame - gap)
    later = next(detection for detection in reversed(after) if detection.frame <= start.frame + gap)
    forward, backward = _shift(earlier, end), _shift(later, start)
    return min(
        overlap(end.box, start.box),
        overlap(moved(end.box, *forward), start.box),
        overlap(end.box, moved(start.box, *backward)),
    )


def _shift(source: Detection, target: Detection) -> tuple[float, float]:
    """Motion of the centre of the box from one detection to another."""
    (x, y, width, height), (to_x, to_y, to_width, to_height) = source.box, target.box
    return to_x + to_width / 2 - x - width / 2, to_y + to_height / 2 - y - height / 2


def _coincide(first: Track, second: Track) -> bool:
    """Whether two tracks are there at the same time, so that they cannot follow one after the other."""
    return first[0].frame <= second[-1].frame and second[0].frame <= first[-1].frame
