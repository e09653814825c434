"""Skeleton files: round trip, linking of persons, and every error with the name of the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_jax.data.skeletons.alphapose import (
    SkeletonError,
    parse_detections,
    read_alphapose,
    write_alphapose,
    write_persons,
)
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.errors import UserError

CASES = Path(__file__).parent / "cases"


def _entry(frame, place=(0.0, 0.0), size=10.0, score=1.0, num_joints=17, **fields):
    """A detection whose joints lie on the diagonal of a square box."""
    steps = np.linspace(0, size, num_joints)
    keypoints = np.stack([place[0] + steps, place[1] + steps, np.full(num_joints, 0.5)], axis=-1)
    entry = {
        "image_id": f"{frame:06d}.jpg",
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "score": score,
        "box": [*place, size, size],
        "idx": 1,
    }
    return {name: value for name, value in (entry | fields).items() if value is not None}


def _read(tmp_path, content, layout="coco17", num_frames=10):
    folder = tmp_path / "skeletons"
    folder.mkdir(exist_ok=True)
    path = folder / "x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_alphapose(path, layout, num_frames)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_written_skeletons_are_read_back(tmp_path_factory, random_skeleton, seed):
    skeleton = random_skeleton(seed)
    skeleton[2] = 0  # a frame without any person
    path = tmp_path_factory.mktemp("skeletons") / "x.json"
    write_alphapose(path, skeleton)
    read = read_alphapose(path, "coco17", 6)
    np.testing.assert_allclose(read[..., :2], skeleton[..., :2], atol=0.0051)
    np.testing.assert_allclose(read[..., 2], skeleton[..., 2], atol=0.00051)
    np.testing.assert_array_equal(read[..., 2] > 0, skeleton[..., 2] > 0)


def test_writing_twice_gives_the_same_bytes(tmp_path, random_skeleton):
    for name in ("a.json", "b.json"):
        write_alphapose(tmp_path / name, random_skeleton(3))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_written_entry_by_hand(tmp_path):
    skeleton = np.zeros((2, 1, 17, 3), np.float32)
    skeleton[1, 0, 0] = [3.14159, 20, 0.98765]
    skeleton[1, 0, 5] = [1, 26.5, 0.0001]
    write_alphapose(tmp_path / "x.json", skeleton)
    (entry,) = json.loads((tmp_path / "x.json").read_text())
    assert entry["image_id"] == "000001.jpg"
    assert entry["category_id"] == 1
    assert entry["keypoints"][:3] == [3.14, 20.0, 0.988]
    assert entry["keypoints"][15:18] == [1.0, 26.5, 0.001]
    assert entry["keypoints"][3:15] == [0.0] * 12
    assert entry["box"] == [1.0, 20.0, 2.14, 6.5]
    assert (entry["score"], entry["idx"]) == (0.058, 1)  # the mean over 17 joints


@pytest.mark.parametrize("image_id", ["000004.jpg", "4.png", "clip_000004.jpg", "take2_v3_0004.jpeg", "4", 4, 4.0])
def test_frames_are_aligned_by_number(tmp_path, image_id):
    skeleton = _read(tmp_path, [_entry(0, image_id=image_id), _entry(1)])
    assert skeleton.shape == (10, 1, 17, 3)
    np.testing.assert_array_equal(np.flatnonzero(skeleton[:, 0, 0, 2]), [1, 4])


def test_a_file_without_persons_is_valid(tmp_path):
    assert _read(tmp_path, []).shape == (10, 0, 17, 3)


def test_persons_are_ordered_by_score_times_area(tmp_path):
    small_often = [_entry(frame, (5, 0), size=10, idx=7) for frame in range(10)]  # 10 * 100
    large_once = [_entry(3, (50, 0), size=40, idx=2)]  # 1600
    large_unsure = [_entry(4, (90, 0), size=40, idx=3, score=0.5)]  # 800
    skeleton = _read(tmp_path, small_often + large_once + large_unsure)
    np.testing.assert_array_equal((skeleton[..., 0, 2] > 0).sum(axis=0), [1, 10, 1])
    np.testing.assert_array_equal(skeleton[3, :2, 0, 0], [50, 5])


@pytest.mark.parametrize("idx", [None, 0, [0.0]])
def test_persons_without_usable_idx_are_linked_by_overlap(tmp_path, idx):
    entries = []
    for frame in range(6):
        crossing = [_entry(frame, (10 + frame, 0), size=20, idx=idx), _entry(frame, (80 - frame, 0), size=15, idx=idx)]
        entries += crossing if frame % 2 else crossing[::-1]
    skeleton = _read(tmp_path, entries)
    assert skeleton.shape[1] == 2
    np.testing.assert_array_equal(skeleton[:6, 0, 0, 0], 10 + np.arange(6))
    np.testing.assert_array_equal(skeleton[:6, 1, 0, 0], 80 - np.arange(6))


def test_idx_links_persons_that_jump(tmp_path):
    skeleton = _read(tmp_path, [_entry(0, (0, 0), idx=4), _entry(1, (500, 0), idx=4), _entry(1, (0, 0), idx=[[9.0]])])
    np.testing.assert_array_equal(skeleton[:2, 0, 0, 0], [0, 500])
    assert skeleton.shape[1] == 2


def test_a_detection_without_idx_goes_to_the_person_that_it_overlaps(tmp_path):
    entries = [_entry(frame, (10 + frame, 0), size=20, idx=4) for frame in (0, 1, 3)]
    entries += [_entry(2, (12, 0), size=20, idx=None)]
    entries += [_entry(frame, (11 + frame, 0), size=15, idx=9) for frame in range(4)]  # overlaps person 4 throughout
    skeleton = _read(tmp_path, entries)
    assert skeleton.shape[1] == 2
    np.testing.assert_array_equal(skeleton[:4, 0, 0, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(skeleton[:4, 1, 0, 0], [11, 12, 13, 14])


def test_a_person_who_is_numbered_late_is_one_person(tmp_path):
    entries = [_entry(0, (10, 0), idx=None), _entry(1, (11, 0), idx=3), _entry(2, (400, 0), idx=3)]
    skeleton = _read(tmp_path, entries)
    np.testing.assert_array_equal(skeleton[:3, :, 0, 0], [[10], [11], [400]])


def test_two_numbers_of_one_frame_are_two_persons_however_much_they_overlap(tmp_path):
    skeleton = _read(tmp_path, [_entry(0, (10, 0), idx=1), _entry(0, (10, 0), idx=2), _entry(1, (10, 0), idx=2)])
    assert skeleton.shape[1] == 2


def test_an_idx_that_two_of_a_frame_share_counts_as_none(tmp_path):
    entries = [_entry(0, (0, 0), idx=7), _entry(0, (50, 0), size=8, idx=7), _entry(0, (80, 0), size=6, idx=1)]
    entries += [_entry(1, (51, 0), size=8, idx=7), _entry(1, (1, 0), idx=7), _entry(1, (200, 0), size=6, idx=1)]
    skeleton = _read(tmp_path, entries)
    np.testing.assert_array_equal(skeleton[:2, :, 0, 0], [[0, 50, 80], [1, 51, 200]])


def test_a_person_out_of_sight_for_more_than_thirty_frames_is_another_one(tmp_path):
    for frame, num_persons in ((30, 1), (31, 2)):
        entries = [_entry(0, (5, 0), idx=None), _entry(frame, (5, 0), idx=None)]
        assert _read(tmp_path, entries, num_frames=40).shape[1] == num_persons


def test_halpe136_is_read_as_halpe26(tmp_path):
    keypoints = np.arange(3 * 136, dtype=float) % 7
    keypoints[2::3] = 0.5
    skeleton = _read(tmp_path, [_entry(2, keypoints=keypoints.tolist(), box=None)], layout="halpe26")
    assert skeleton.shape == (10, 1, 26, 3)
    np.testing.assert_array_equal(skeleton[2, 0], keypoints[: 3 * 26].reshape(26, 3))
    with pytest.raises(SkeletonError, match="coco17 has 17 joints, got 136: declare skeleton_layout='halpe26'"):
        _read(tmp_path, [_entry(2, keypoints=keypoints.tolist())])


def test_written_persons_keep_box_and_score(tmp_path):
    joints = np.tile(np.float32([3.14159, 2, 0.5]), (17, 1))
    persons = [
        [Detection(4, 8.0, joints, (1.0, 2.0, 30.559, 40.0), 16.76543)],
        [Detection(3, None, joints, (0, 0, 1, 1), 1)],
    ]
    write_persons(tmp_path / "x.json", persons)
    first, second = json.loads((tmp_path / "x.json").read_text())
    assert (first["image_id"], first["idx"], first["score"]) == ("000003.jpg", 2, 1)
    assert (second["image_id"], second["idx"], second["score"]) == ("000004.jpg", 1, 16.765)
    assert second["box"] == [1.0, 2.0, 30.56, 40.0]
    assert second["keypoints"][:3] == [3.14, 2.0, 0.5]


def test_absent_joints_and_scores_above_one(tmp_path):
    keypoints = [7.0, 8.0, 0.0] + [1.0, 2.0, 1.3] + [3.0, 4.0, -0.1] + [5.0, 6.0, 0.5] * 14
    skeleton = _read(tmp_path, [_entry(0, keypoints=keypoints)])
    np.testing.assert_array_equal(skeleton[0, 0, :3], [[0, 0, 0], [1, 2, 1], [0, 0, 0]])


@pytest.mark.parametrize("absent", [float("nan"), None])
def test_a_joint_that_is_nan_is_absent_and_counted(absent):
    keypoints = [7.0, 8.0, 0.5] * 17
    keypoints[1], keypoints[3 * 4 + 2] = absent, absent  # y of joint 0, the score of joint 4
    entry = _entry(0, keypoints=keypoints, box=[float("nan")] * 4, score=float("nan"))
    (detection,) = parse_detections([entry], "coco17", "x")
    assert detection.num_nan == 2
    np.testing.assert_array_equal(detection.joints[[0, 1, 4]], [[0, 0, 0], [7, 8, 0.5], [0, 0, 0]])
    assert (detection.box, detection.score) == ((7, 8, 0, 0), pytest.approx(0.5 * 15 / 17))


def test_scores_of_another_scale_are_refused_and_can_be_scaled():
    entries = json.loads((CASES / "score90.json").read_text())
    with pytest.raises(SkeletonError, match=r"^x: expected joint scores from 0 to 1, got 90 on average: .*--max_score"):
        parse_detections(entries, "coco17", "x")
    assert {score for one in parse_detections(entries, "coco17", "x", 100.0) for score in one.joints[:, 2]} == {
        np.float32(0.9)
    }


def test_box_and_score_may_be_absent(tmp_path):
    skeleton = _read(
        tmp_path, [_entry(0, (30, 0), size=5, box=None, score=None, idx=2), _entry(0, box=None, score=None)]
    )
    np.testing.assert_array_equal(skeleton[0, :, 0, 0], [0, 30])


def test_frames_just_past_the_end_are_left_out(tmp_path):
    skeleton = _read(tmp_path, [_entry(9), _entry(10), _entry(11)])
    np.testing.assert_array_equal(np.flatnonzero(skeleton[:, 0, 0, 2]), [9])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON"),
        ("\x00\xff", "not JSON"),
        ('{"a": 1}', "expected a list of detections.*got dict"),
        ([3], "entry 0: expected an object, got int"),
        (
            [_entry(0, num_joints=18)],
            "entry 0: layout coco17 has 17 joints, got 18: declare skeleton_layout='openpose18'",
        ),
        ([_entry(0), _entry(1, keypoints=[1.0] * 52)], "entry 1: layout coco17 .* got 52 numbers"),
        ([_entry(0, keypoints=None)], "expected the field 'keypoints'"),
        ([_entry(0, image_id=None)], "expected the field 'image_id'"),
        ([_entry(0, keypoints=["a"] * 51)], "keypoints: expected numbers"),
        ([_entry(0, keypoints=[float("inf")] * 51)], "expected finite numbers, got infinity"),
        ([_entry(0, keypoints=[5.0] * 34)], r"coco17 has 17 joints of \[x, y, score\], got 34 numbers: add the scores"),
        ([_entry(0, image_id="frame.jpg")], "image_id: expected a name with the frame's number"),
        ([_entry(0, image_id=4.5)], "image_id: expected an image's name or a frame number, got 4.5"),
        ([_entry(0, image_id=[4])], r"image_id: expected an image's name or a frame number, got \[4\]"),
        ([_entry(0, image_id=True)], "image_id: expected an image's name or a frame number, got True"),
        ([_entry(0, image_id=-3)], "image_id: expected a frame number from 0 to 10,000,000, got -3"),
        ([_entry(0, image_id=10**30)], f"image_id: expected a frame number from 0 to 10,000,000, got {10**30}"),
        ([_entry(0, image_id=f"{10**30}.jpg")], f"frame number from 0 to 10,000,000, got {10**30}.jpg"),
        ([_entry(0, image_id=f"a_{10**30}")], f"frame number from 0 to 10,000,000, got a_{10**30}"),
        ([_entry(0, box=[1, 2])], r"box: expected \[x, y, width, height\]"),
        ([_entry(0, box="abcd")], r"box: expected \[x, y, width, height\], got 'abcd'"),
        ([_entry(0, box=[1, 2, 3, 10**400])], r"box: expected \[x, y, width, height\], got \[1, 2, 3, 1000"),
        ([_entry(0, score="high")], "entry 0: score: expected a finite number, got 'high'"),
        ([_entry(0, score=10**400)], "entry 0: score: expected a finite number, got 1000"),
        ([_entry(0, keypoints=[10**400] * 51)], "entry 0: keypoints: expected numbers"),
        ([_entry(0), _entry(12)], "expected frames 0 to 9 of the video, got frame 12"),
    ],
)
def test_an_error_is_one_line_that_names_the_file(tmp_path, content, message):
    with pytest.raises(SkeletonError, match=message) as error:
        _read(tmp_path, content)
    assert str(error.value).startswith("skeletons/x.json: ")
    assert "\n" not in str(error.value)


def test_absent_file_and_unknown_layout(tmp_path):
    with pytest.raises(SkeletonError, match=r"nowhere\.json: cannot be read"):
        read_alphapose(tmp_path / "nowhere.json", "coco17", 3)
    with pytest.raises(UserError, match="coco17, coco19"):
        _read(tmp_path, [], layout="coco18")
