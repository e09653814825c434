"""Joining of a person's tracks: crafted cases, and rendered people whose tracker loses and renumbers them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.data.skeletons.detection import Detection, bounding_box
from musclemap_jax.data.skeletons.person_linking import link_persons
from musclemap_jax.data.skeletons.track_joining import LINK_GAP_FRAMES, join_tracks
from tfds_musclemap.source import ClipSource

CASES = Path(__file__).parent / "cases"


def track(frames, x, speed=0.0, size=40.0, idx=None):
    """A square person whose box starts at x in the first of the frames."""
    return [
        Detection(frame, idx, np.zeros((1, 3)), (x + speed * (frame - frames[0]), 0.0, size, size), 1.0)
        for frame in frames
    ]


def spans(persons):
    """[(first frame, last frame, number of detections)] of each person."""
    return sorted((person[0].frame, person[-1].frame, len(person)) for person in persons)


def test_a_new_idx_every_ten_frames_is_one_person():
    sound = read_alphapose(CASES / "good.json", "coco17", 60)
    np.testing.assert_array_equal(read_alphapose(CASES / "new_id_every_10.json", "coco17", 60), sound)
    assert sound.shape == (60, 1, 17, 3)


@pytest.mark.parametrize(("gap", "num_persons"), [(1, 1), (LINK_GAP_FRAMES, 1), (LINK_GAP_FRAMES + 1, 2)])
def test_tracks_are_joined_over_thirty_frames_at_most(gap, num_persons):
    tracks = [track(range(10), 50), track(range(9 + gap, 60), 52)]
    assert len(join_tracks(tracks)) == num_persons
    assert spans(join_tracks(tracks)) == spans(join_tracks(tracks[::-1]))


@pytest.mark.parametrize(
    ("second", "spans_after"),
    [
        (track(range(9, 20), 50), [(0, 9, 10), (9, 19, 11)]),  # both in frame 9
        (track(range(10, 20), 80), [(0, 9, 10), (10, 19, 10)]),  # overlaps by a quarter of a box
        (track(range(10, 20), 50, size=80), [(0, 9, 10), (10, 19, 10)]),  # twice as tall: nearer to the camera
        (track(range(10, 20), 55), [(0, 19, 20)]),
    ],
)
def test_near_in_time_and_place_and_never_together(second, spans_after):
    assert spans(join_tracks([track(range(10), 50), second])) == spans_after


def test_a_number_that_comes_back_is_one_person_if_every_handover_fits():
    first = track(range(10), 50) + track(range(30, 40), 50)
    assert spans(join_tracks([first, track(range(10, 30), 52)])) == [(0, 39, 40)]
    elsewhere = track(range(10), 50) + track(range(30, 40), 300)
    assert len(join_tracks([elsewhere, track(range(10, 30), 52)])) == 2


def test_an_idx_that_the_tracker_keeps_is_kept():
    detections = [*track(range(10), 50, idx=1), *track(range(60, 70), 300, idx=1), *track(range(5, 70), 150, idx=2)]
    assert spans(link_persons(detections)) == [(0, 69, 20), (5, 69, 65)]


@pytest.mark.parametrize("lost", [1, 4, 10, 20])
def test_persons_who_swap_places_unseen_are_not_exchanged(lost):
    # They walk through each other at 2 pixels a frame, and the tracker sees neither for a while around frame 50.
    start, end = 50 - lost // 2, 50 - lost // 2 + lost
    places = {"right": lambda frame: 2.0 * (frame - 50), "left": lambda frame: -2.0 * (frame - 50)}
    tracks = [
        [Detection(frame, None, np.zeros((1, 3)), (place(frame), 0.0, 40.0, 100.0), 1.0) for frame in frames]
        for place in places.values()
        for frames in (range(start), range(end, 100))
    ]
    for person in join_tracks(tracks):
        directions = {np.sign(after.box[0] - before.box[0]) for before, after in pairwise(person)}
        assert len(directions) == 1, spans([person])


def test_neighbours_who_are_renumbered_together_keep_their_own():
    tracks = [track(range(start, start + 20), x) for start in (0, 20, 40) for x in (50, 70)]
    persons = join_tracks(tracks)
    assert spans(persons) == [(0, 59, 60), (0, 59, 60)]
    assert all(len({detection.box for detection in person}) == 1 for person in persons)


def test_a_track_with_two_possible_continuations_is_left_as_it_is():
    tracks = [track(range(10), 50), track(range(12, 30), 45), track(range(12, 30), 55)]
    assert len(join_tracks(tracks)) == 3


@pytest.mark.parametrize(("lost", "fraction_joined"), [(0, 0.6), (5, 0.25)])
def test_rendered_people_who_walk_past_each_other_are_never_mixed(smoke_data, lost, fraction_joined):
    """Two rendered people whose tracker renumbers them every 6 frames, and sees neither where they meet."""
    source = ClipSource(next((smoke_data / "musclemap" / "synthetic_smoke").iterdir()), "train")
    pairs = [(source[index]["skeleton"][:, 0], source[index + 1]["skeleton"][:, 0]) for index in range(0, 8, 2)]
    num_joined = num_tracks = 0
    for first, second in pairs:
        length = min(len(first), len(second))
        tracks = {}
        for person, joints in enumerate((first[:length], second[:length])):
            width = np.ptp(joints[..., 0][joints[..., 2] > 0])
            for frame in range(length):
                if abs(2 * frame - length) <= lost:
                    continue
                shift = (1 - 2 * person) * 2.0 * width * (frame / length - 0.5)
                moved = joints[frame] + np.float32([shift, 0, 0]) * (joints[frame, :, 2:] > 0)
                detection = Detection(frame, None, moved, bounding_box(moved), 1.0 + person)
                tracks.setdefault((person, frame // 6), []).append(detection)
        persons = join_tracks(list(tracks.values()))
        assert all(len({detection.score for detection in person}) == 1 for person in persons)
        assert len(persons) >= 2
        num_joined += len(tracks) - len(persons)
        num_tracks += len(tracks)
    assert num_joined >= fraction_joined * num_tracks


@pytest.mark.parametrize("idx", [(None, None), (1.0, 2.0)])
def test_a_body_half_seen_before_it_is_lost_is_the_same_person(idx):
    """As of a real pull-up: the box shrinks to the arms, and frames later the tracker gives a new number."""
    first, second = idx
    seen = track(range(12), 50, idx=first)
    shrunk = [one._replace(box=(50.0, 0.0, 40.0, height)) for one, height in zip(seen[10:], (20.0, 11.0), strict=True)]
    detections = [*seen[:10], *shrunk, *track(range(14, 30), 50, idx=second)]
    assert spans(link_persons(detections)) == [(0, 29, 28)]
