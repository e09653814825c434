"""Pose results as the tools lay them out: found by clip, turned into AlphaPose entries."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from musclemap_jax.data.skeletons.alphapose import SkeletonError
from musclemap_jax.data.skeletons.pose_results import read_clip, read_entries
from musclemap_jax.errors import UserError

CLIPS = ["squat_1", "sub/lunge", "sub/squat_2"]
JOINTS = [1.0, 2.0, 0.5] * 18


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def entry(image_id):
    return {"image_id": image_id, "keypoints": JOINTS}


def openpose(*person_ids):
    people = [{"person_id": [idx], "pose_keypoints_2d": JOINTS, "face_keypoints_2d": []} for idx in person_ids]
    return {"version": 1.3, "people": people}


def images(source, clip_ids=CLIPS):
    """(clip, image names) of what is read."""
    found = read_entries(source, clip_ids)
    return [(clip_id, [entry["image_id"] for entry in poses.entries]) for clip_id, poses in found]


def test_a_folder_of_alphapose_files_by_clip_id_or_its_last_part(tmp_path):
    written(tmp_path / "squat_1.json", [entry("0.jpg")])
    written(tmp_path / "lunge.json", [entry("1.jpg")])
    written(tmp_path / "sub" / "squat_2" / "alphapose-results.json", [entry("2.jpg")])
    written(tmp_path / "of_another_clip.json", [entry("3.jpg")])
    assert images(tmp_path) == [("squat_1", ["0.jpg"]), ("sub/lunge", ["1.jpg"]), ("sub/squat_2", ["2.jpg"])]


def test_a_last_part_that_two_clips_have_finds_neither(tmp_path):
    written(tmp_path / "x.json", [entry("0.jpg")])
    with pytest.raises(UserError, match="none of them"):
        images(tmp_path, ["a/x", "b/x"])


def test_which_clips_are_wanted_does_not_change_whose_results_a_name_finds(tmp_path):
    written(tmp_path / "x.json", [entry("0.jpg")])
    written(tmp_path / "a" / "x.json", [entry("1.jpg")])
    found = {clip_id: poses.entries for clip_id, poses in read_entries(tmp_path, ["a/x", "b/x", "c"], ["a/x"])}
    assert found == {"a/x": [entry("1.jpg")]}
    with pytest.raises(UserError, match="none of them"):
        list(read_entries(tmp_path, ["a/x", "b/x"], ["b/x"]))


def test_files_as_alphapose_names_them_for_videos(tmp_path):
    written(tmp_path / "AlphaPose_squat_1.json", [entry("0.jpg")])
    written(tmp_path / "sub" / "AlphaPose_lunge.json", [entry("1.jpg")])
    written(tmp_path / "AlphaPose_squat_2.json", [entry("2.jpg")])
    assert images(tmp_path) == [("squat_1", ["0.jpg"]), ("sub/lunge", ["1.jpg"]), ("sub/squat_2", ["2.jpg"])]


def test_several_results_of_a_clip_are_an_error_that_names_them(tmp_path):
    for name in ("squat_1.json", "AlphaPose_squat_1.json", "squat_1/alphapose-results.json", "lunge.json"):
        written(tmp_path / name, [entry("0.jpg")])
    written(tmp_path / "sub" / "lunge.json", [entry("0.jpg")])
    errors = dict(read_entries(tmp_path, CLIPS))
    found = "squat_1.json and AlphaPose_squat_1.json and squat_1: keep one"
    assert str(errors["squat_1"]) == f"squat_1: expected one file or folder of results, found {found} of them"
    assert "found sub/lunge.json and lunge.json" in str(errors["sub/lunge"])
    with pytest.raises(SkeletonError, match="and AlphaPose_squat_1"):
        read_clip(tmp_path, "squat_1")


def test_the_folder_of_other_clips_results_is_no_result_of_the_clip_that_it_is_named_like(tmp_path):
    written(tmp_path / "squat.json", [entry("0.jpg")])
    written(tmp_path / "squat" / "low.json", [entry("1.jpg")])
    written(tmp_path / "row" / "row.json", [entry("2.jpg")])
    found = [("row/row", ["2.jpg"]), ("squat", ["0.jpg"]), ("squat/low", ["1.jpg"])]
    assert images(tmp_path, ["squat", "squat/low", "row/row"]) == found


def test_a_clip_that_is_twice_in_a_file_is_an_error_that_names_both_places(tmp_path):
    by_clip = written(tmp_path / "all.json", {"lunge": [entry("0.jpg")], "squat_1": [], "sub/lunge": []})
    with pytest.raises(UserError, match="expected sub/lunge once, found it in 'lunge' and 'sub/lunge'"):
        images(by_clip)
    joints = np.ones((1, 2, 17, 2), np.float16)
    annotations = [
        {"frame_dir": name, "keypoint": joints, "keypoint_score": joints[..., 0]}
        for name in ("squat_1", "stranger", "stranger", "squat_1.mp4")
    ]
    (tmp_path / "all.pkl").write_bytes(pickle.dumps({"annotations": annotations}))
    with pytest.raises(UserError, match="expected squat_1 once, found it in annotation 0 and annotation 3"):
        images(tmp_path / "all.pkl")
    (tmp_path / "all.pkl").write_bytes(pickle.dumps({"annotations": annotations[:3]}))
    assert images(tmp_path / "all.pkl") == [("squat_1", [0, 1])]


def test_alphaposes_cmu_format_in_one_file_and_in_one_per_frame(tmp_path):
    frame = {"version": "AlphaPose v0.3", "bodies": [{"joints": JOINTS}, {"joints": JOINTS}]}
    written(tmp_path / "squat_1.json", {"0.jpg": frame, "1.jpg": frame | {"bodies": []}})
    written(tmp_path / "lunge" / "7.json", frame)
    found = {clip_id: poses.entries for clip_id, poses in read_entries(tmp_path, CLIPS)}
    assert found["squat_1"] == [{"image_id": "0.jpg", "keypoints": JOINTS}] * 2
    assert found["sub/lunge"] == [{"image_id": "7.json", "keypoints": JOINTS}] * 2


def test_openpose_files_with_one_frame_each(tmp_path):
    for frame, people in ((7, openpose(-1)), (12, openpose(3, -1)), (9, openpose())):
        written(tmp_path / "squat_1" / f"squat_1_{frame:012d}_keypoints.json", people)
    ((clip_id, poses),) = read_entries(tmp_path, CLIPS)
    assert clip_id == "squat_1"
    assert poses.entries == [
        {"image_id": "squat_1_000000000007_keypoints.json", "keypoints": JOINTS},
        {"image_id": "squat_1_000000000012_keypoints.json", "keypoints": JOINTS, "idx": [3]},
        {"image_id": "squat_1_000000000012_keypoints.json", "keypoints": JOINTS},
    ]


def test_openpose_frames_in_one_object(tmp_path):
    written(tmp_path / "squat_1.json", {"0.jpg": openpose(-1), "5.jpg": openpose(-1, -1)})
    assert images(tmp_path) == [("squat_1", ["0.jpg", "5.jpg", "5.jpg"])]


@pytest.mark.parametrize(
    "image", ["squat_1_000012.jpg", "squat_1/000012.jpg", "squat_1/12.png", "squat_1-12", "squat_1__0012.jpeg"]
)
def test_one_file_for_all_clips_by_the_images_names(tmp_path, image):
    others = [entry("sub/lunge/3.jpg"), entry("squat_2_4.jpg"), entry("stranger_5.jpg"), entry("6.jpg"), {}, 3]
    source = written(tmp_path / "all.json", [*others, entry(image)])
    assert images(source) == [
        ("squat_1", [image]),
        ("sub/lunge", ["sub/lunge/3.jpg"]),
        ("sub/squat_2", ["squat_2_4.jpg"]),
    ]


def test_one_file_for_all_clips_by_clip_id(tmp_path):
    content = {"squat_1": [entry("0.jpg")], "lunge": {"1.jpg": openpose(-1)}, "stranger": []}
    assert images(written(tmp_path / "all.json", content)) == [("squat_1", ["0.jpg"]), ("sub/lunge", ["1.jpg"])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"0.jpg": {"persons": []}}, "0.jpg: expected an OpenPose frame"),
        ({"0.jpg": {"bodies": [{"pose_keypoints_2d": []}]}}, "0.jpg: expected persons with 'joints'"),
        ({"0.jpg": {"people": [3]}}, "0.jpg: expected persons with 'pose_keypoints_2d'"),
        ("text", "expected a list of detections or an object of frames, got str"),
    ],
)
def test_an_error_of_one_clip_is_yielded_in_its_place(tmp_path, content, words):
    written(tmp_path / "squat_1.json", content)
    written(tmp_path / "lunge.json", [entry("1.jpg")])
    (_, error), (clip_id, poses) = read_entries(tmp_path, CLIPS)
    assert isinstance(error, SkeletonError)
    assert words in str(error)
    assert (clip_id, len(poses.entries)) == ("sub/lunge", 1)


def test_files_that_are_not_json_and_empty_folders_are_errors_of_their_clips(tmp_path):
    (tmp_path / "squat_1.json").write_bytes(b"\x00")
    (tmp_path / "lunge").mkdir()
    errors = dict(read_entries(tmp_path, CLIPS))
    assert "not JSON" in str(errors["squat_1"])
    assert "found no JSON file" in str(errors["sub/lunge"])


def test_a_pipe_is_refused_without_being_opened(tmp_path):
    for name in ("squat_1.json", "lunge.pkl"):
        os.mkfifo(tmp_path / name)
    words = "cannot be read: expected a regular file, got a pipe"
    errors = dict(read_entries(tmp_path, CLIPS))
    assert [words in str(errors[clip_id]) for clip_id in ("squat_1", "sub/lunge")] == [True, True]
    for name in ("squat_1.json", "lunge.pkl"):
        with pytest.raises(UserError, match=f"{name}: {words}"):
            images(tmp_path / name)


def test_errors_of_all_results(tmp_path):
    for content, words in (([entry("stranger_1.jpg")], "none of them"), (3, "got int"), ([], "none of them")):
        with pytest.raises(UserError, match=words):
            images(written(tmp_path / "all.json", content))
    with pytest.raises(UserError, match="no such file or folder"):
        images(tmp_path / "absent")
    (tmp_path / "all.json").write_text("[")
    with pytest.raises(UserError, match="not JSON"):
        images(tmp_path / "all.json")
