"""Linking while a video is read: the persons of the whole clip, numbered as they appear, in constant memory."""

from __future__ import annotations

import pickle
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclemap_jax.data.skeletons.detection import Detection, bounding_box
from musclemap_jax.data.skeletons.person_linking import PersonLinker, link_persons

GAP_FRAMES = 30


def detection(frame, place, size=10.0, idx=None, score=1.0):
    return Detection(frame, idx, np.zeros((1, 3)), (place, 0.0, size, size), score)


def same(person):
    """The person's detections by identity, whatever has become of their idx."""
    return tuple(id(one.joints) for one in person)


def by_frame(detections):
    return [list(found) for _, found in groupby(detections, key=lambda detection: detection.frame)]


@st.composite
def clips(draw):
    """Detections without idx of up to 25 frames with gaps, near enough to each other to be taken for one another."""
    detections, frame = [], 0
    for _ in range(draw(st.integers(1, 25))):
        frame += draw(st.sampled_from([1, 1, 1, 2, GAP_FRAMES, GAP_FRAMES + 1]))
        for _ in range(draw(st.integers(0, 3))):
            place, size = draw(st.integers(0, 24)), draw(st.integers(1, 12))
            detections.append(detection(frame, float(place), float(size), score=draw(st.sampled_from([0.5, 1.0]))))
    return detections


def overlap(first, second):
    """Intersection over union of two squares on the x axis."""
    (x, _, size, _), (other, _, other_size, _) = first, second
    width = max(min(x + size, other + other_size) - max(x, other), 0)
    common = width * min(size, other_size)
    return common / (size**2 + other_size**2 - common)


def reference_numbers(frames):
    """The rule in its plainest form: every person is remembered, and the best pair is chosen again and again."""
    persons, numbers = [], []
    for found in frames:
        chosen = {}
        while True:
            pairs = [
                (-overlap(last.box, one.box), number, place)
                for number, person in enumerate(persons)
                for last in person[-3:]
                for place, one in enumerate(found)
                if number not in chosen.values() and place not in chosen
                if one.frame - last.frame <= GAP_FRAMES and overlap(last.box, one.box) >= 0.3
            ]
            if not pairs:
                break
            _, number, place = min(pairs)
            chosen[place] = number
        for place, one in enumerate(found):
            if place not in chosen:
                chosen[place] = len(persons)
                persons.append([])
            persons[chosen[place]].append(one)
        numbers.append([chosen[place] + 1 for place in range(len(found))])
    return numbers


@given(clips())
def test_persons_are_numbered_by_the_greedy_rule(detections):
    frames = by_frame(detections)
    linker = PersonLinker()
    assert [linker.link(found) for found in frames] == reference_numbers(frames)


@given(clips())
def test_numbers_group_detections_as_the_whole_clip_does(detections):
    linker, persons = PersonLinker(), {}
    for found in by_frame(detections):
        for one, number in zip(found, linker.link(found), strict=True):
            persons.setdefault(number, []).append(one)
    assert sorted(persons) == list(range(1, len(persons) + 1))
    assert all(first[0].frame <= second[0].frame for first, second in pairwise(persons.values()))
    assert set(map(same, link_persons(detections))) == set(map(same, persons.values()))


@given(clips())
def test_the_order_of_detections_in_a_file_changes_nothing_between_frames(detections):
    backwards = [one for found in reversed(by_frame(detections)) for one in found]
    assert list(map(same, link_persons(backwards))) == list(map(same, link_persons(detections)))


def test_an_idx_finds_its_person_after_any_time_and_place():
    linker = PersonLinker()
    assert linker.link([detection(0, 0.0, idx=7.0), detection(0, 50.0)]) == [1, 2]
    assert linker.link([detection(500, 50.0), detection(500, 300.0, idx=7.0)]) == [3, 1]
    assert linker.link([detection(501, 301.0), detection(501, 52.0)]) == [1, 3]


def test_memory_does_not_grow_with_the_video():
    linker, sizes = PersonLinker(), []
    for frame in range(6000):
        linker.link([detection(frame, 100.0 * (frame // 5)), detection(frame, -100.0)])
        if frame in (999, 5999):
            sizes.append(len(pickle.dumps(linker)))
    assert linker.link([detection(6000, -100.0), detection(6000, -500.0)]) == [2, 1202]  # 1,200 others passed by
    assert sizes[1] < 1.1 * sizes[0]


def test_frames_come_one_by_one_in_order():
    linker = PersonLinker()
    assert linker.link([]) == []
    linker.link([detection(4, 0.0)])
    with pytest.raises(ValueError, match=r"one frame after frame 4, got \[4\]"):
        linker.link([detection(4, 0.0)])
    with pytest.raises(ValueError, match=r"got \[5, 6\]"):
        linker.link([detection(5, 0.0), detection(6, 0.0)])


def test_the_bounding_box_leaves_absent_joints_out():
    joints = np.array([[4, 8, 0.5], [0, 0, 0], [10, 9, 1]], np.float32)
    assert bounding_box(joints) == (4, 8, 6, 1)
    assert bounding_box(joints[1:2]) == (0, 0, 0, 0)
