"""Skeletons beside a video: every format that can be imported, and clear errors for the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.predict.outputs import write_muscles
from musclemap_jax.predict.skeleton_file import check_skeleton, find_skeleton, read_skeleton_file
from tests.conftest import ROOT
from tests.predict.predictions import squat

REAL = ROOT / "tests" / "data" / "real"


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def keypoints(x, num_joints=17):
    return [value for joint in range(num_joints) for value in (x + joint, 100 + joint, 0.9)]


def entry(frame, x, idx=None, clip="", num_joints=17):
    found = {
        "image_id": f"{clip}{frame:06d}.jpg",
        "category_id": 1,
        "keypoints": keypoints(x, num_joints),
        "score": 0.8,
    }
    return found if idx is None else found | {"idx": idx}


def seen(persons):
    """[[(frame, number, x of joint 0)]]"""
    return [[(found.frame, found.idx, float(found.joints[0, 0])) for found in person] for person in persons]


def test_persons_are_numbered_by_their_first_appearance(tmp_path):
    # The second one is larger in the picture for longer, and so the most prominent.
    entries = [entry(0, 10, idx=7), *(entry(frame, 300, idx=3) for frame in range(1, 5))]
    persons = read_skeleton_file(written(tmp_path / "squat.json", entries[::-1]), "coco17", "squat")
    assert seen(persons) == [[(0, 1, 10)], [(frame, 2, 300) for frame in range(1, 5)]]
    assert persons[0][0].joints.shape == (17, 3)
    np.testing.assert_allclose(persons[0][0].joints[16], [26, 116, 0.9])


def openpose(*xs, num_joints=25):
    return {"people": [{"person_id": [-1], "pose_keypoints_2d": keypoints(x, num_joints)} for x in xs]}


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        ({"squat.json": [entry(2, 5), entry(3, 5)]}, "coco17"),
        ({"squat.json": [entry(2, 5, clip="lift/squat_"), entry(3, 5, clip="lift/squat_")]}, "coco17"),
        ({"squat.json": [entry(2, 5, clip="squat_"), entry(3, 5, clip="squat_"), entry(0, 9, clip="row_")]}, "coco17"),
        ({"squat.json": [entry(2, 5, clip="frame"), entry(3, 5, clip="frame")]}, "coco17"),
        ({"squat.json": {"squat": [entry(2, 5), entry(3, 5)], "row": [entry(0, 9)]}}, "coco17"),
        ({"squat.json": {"2.jpg": openpose(5), "3.jpg": openpose(5)}}, "openpose25"),
        ({"squat/alphapose-results.json": [entry(2, 5, num_joints=136), entry(3, 5, num_joints=136)]}, "halpe136"),
        ({f"squat/squat_00000{n}_keypoints.json": openpose(5) for n in (2, 3)}, "openpose25"),
    ],
)
def test_every_format_is_found_beside_the_video_and_read(tmp_path, files, layout):
    for name, content in files.items():
        written(tmp_path / name, content)
    path = find_skeleton(tmp_path / "squat.mp4")
    assert path == tmp_path / next(iter(files)).partition("/")[0]
    assert seen(read_skeleton_file(path, layout, "squat")) == [[(2, 1, 5), (3, 1, 5)]]


def test_a_folder_of_results_holds_those_of_the_video(tmp_path):
    written(tmp_path / "results" / "squat.json", [entry(2, 5)])
    written(tmp_path / "results" / "row.json", [entry(0, 9)])
    assert seen(read_skeleton_file(tmp_path / "results", "coco17", "squat")) == [[(2, 1, 5)]]


def test_other_files_and_folders_beside_a_video_are_no_skeletons(tmp_path):
    assert find_skeleton(tmp_path / "squat.mp4") is None
    (tmp_path / "squat").mkdir()
    write_muscles(tmp_path / "squat", [squat()])
    assert find_skeleton(tmp_path / "squat.mp4") is None


def test_results_in_two_places_are_refused_and_both_named(tmp_path):
    written(tmp_path / "squat.json", [entry(2, 5)])
    written(tmp_path / "squat" / "alphapose-results.json", [entry(2, 7)])
    with pytest.raises(UserError, match=r"squat.mp4: expected .* found squat.json and the folder squat beside it"):
        find_skeleton(tmp_path / "squat.mp4")
    written(tmp_path / "squat" / "squat_000002_keypoints.json", openpose(5))
    with pytest.raises(UserError, match=r"squat: expected .* found alphapose-results.json and OpenPose's files"):
        read_skeleton_file(tmp_path / "squat", "coco17")


def test_the_real_skeletons_are_one_person_in_every_frame():
    (person,) = read_skeleton_file(find_skeleton(REAL / "pose2sim_cam01.mp4"), "coco17", "pose2sim_cam01")
    assert [found.frame for found in person] == list(range(100))


OWN = {"format": "musclemap_jax muscles", "version": 1}


@pytest.mark.parametrize(
    ("content", "layout", "reason"),
    [
        (
            [entry(0, 5, num_joints=26)],
            "coco17",
            "entry 0: layout coco17 has 17 joints, got 26: declare skeleton_layout='halpe26'",
        ),
        (OWN, "coco17", "format: expected an OpenPose frame, an object with a list 'people'"),
        ([1], "coco17", "entry 0: expected an object, got int"),
        ("text", "coco17", "expected a list of detections or an object of frames, got str"),
        (
            [entry(0, 5, clip="row_"), entry(0, 5, clip="press_")],
            "coco17",
            "expected results of squat, found results of press, row",
        ),
    ],
)
def test_what_is_no_skeleton_of_the_video_is_one_line(tmp_path, content, layout, reason):
    path = written(tmp_path / "squat.json", content)
    with pytest.raises(UserError) as error:
        read_skeleton_file(path, layout, "squat")
    fix = "move it elsewhere if it is something else"
    assert str(error.value) == f"{path}: not usable as pose results of the video: {reason}: {fix}"


def test_a_file_that_is_not_json_is_one_line(tmp_path):
    path = tmp_path / "squat.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match="not usable as pose results of the video: expected AlphaPose JSON, got a file"):
        read_skeleton_file(path, "coco17", "squat")
    with pytest.raises(UserError, match="not usable as pose results of the video: cannot be read: No such file"):
        read_skeleton_file(tmp_path / "none.json", "coco17", "squat")


def test_an_unknown_layout_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"skeleton layout: expected one of coco17, .*, got 'coco18'"):
        read_skeleton_file(written(tmp_path / "squat.json", []), "coco18", "squat")


def test_skeletons_of_a_longer_video_are_refused(tmp_path):
    persons = read_skeleton_file(written(tmp_path / "squat.json", [entry(0, 5), entry(11, 5)]), "coco17", "squat")
    check_skeleton(persons, "coco17", "squat.json", num_frames=10)  # decoders disagree about two frames
    with pytest.raises(
        UserError, match=r"expected frames 0 to 8 of the video, got frame 11: is it the file of another"
    ):
        check_skeleton(persons, "coco17", "squat.json", num_frames=9)
    check_skeleton([], "coco17", "squat.json", num_frames=9)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("norm", "coordinates from 0.25 to 0.85, expected pixels of the video: normalised by the image's size"),
        ("onebased", "frames 1 to 60 of a video with the frames 0 to 59: numbered from 1"),
        ("orig_res", "poses of a larger original"),
    ],
)
def test_skeletons_in_other_units_than_the_videos_are_refused(case, reason):
    path = ROOT / "tests" / "data" / "skeletons" / "cases" / f"{case}.json"
    persons = read_skeleton_file(path, "coco17", case)
    with pytest.raises(UserError) as error:
        check_skeleton(persons, "coco17", path, size=(240, 320), num_frames=60)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(f"{reason}: expected frames and pixels of the video")


@pytest.mark.parametrize("case", ["planar", "score90"])
def test_skeletons_that_are_no_joints_with_scores_are_refused(case):
    path = ROOT / "tests" / "data" / "skeletons" / "cases" / f"{case}.json"
    with pytest.raises(UserError, match=r"not usable as pose results of the video: expected .*score"):
        read_skeleton_file(path, "coco17", case)
