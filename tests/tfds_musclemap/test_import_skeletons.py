"""Pose estimators' results imported into a raw data set: layouts, frames and persons, with values computed by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from musclemap_jax.data.raw.manifest import Manifest, read_manifest, write_manifest
from musclemap_jax.data.raw.raw_dataset import Clip, skeleton_path, video_path, write_annotations
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.skeleton_layouts import LAYOUTS, get_layout
from tests.data.raw.clips import write_clip
from tfds_musclemap.import_skeletons import main

NUM_JOINTS = {name: layout.num_joints for name, layout in LAYOUTS.items()} | {"halpe136": 136}


@pytest.fixture
def root(tmp_path):
    """A raw data set of two clips without skeletons."""
    clips = [Clip("squat_1", "train", "squat", (1,)), Clip("sub/lunge", "train", "lunge", (2,))]
    write_annotations(tmp_path / "raw", clips)
    return tmp_path / "raw"


def entry(image_id, layout="coco17", at=0.0, size=10.0, score=1.0, **fields):
    """A detection whose joint v is at (at + v, 2 v) with score 0.5."""
    index = np.arange(NUM_JOINTS[layout])
    keypoints = np.stack([at + index, 2 * index, np.full(len(index), 0.5)], axis=-1)
    box = [at, 0, size, size]
    return {"image_id": image_id, "keypoints": keypoints.ravel().tolist(), "score": score, "box": box} | fields


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def run(root, source, layout="coco17", *arguments):
    return main([f"--raw_dir={root}", f"--skeletons={source}", f"--skeleton_layout={layout}", *arguments])


@pytest.mark.parametrize("layout", sorted(NUM_JOINTS))
def test_joints_of_every_layout_are_matched_by_name(root, tmp_path, layout):
    write_manifest(root, Manifest(skeleton_layout="coco19"))
    stored = {"halpe136": "halpe26"}.get(layout, layout)
    assert run(root, written(tmp_path / "all.json", [entry("squat_1_000012.jpg", layout)]), layout) == 0
    skeleton = read_alphapose(skeleton_path(root, "squat_1"), "coco19", 20)
    assert np.flatnonzero(skeleton.any(axis=(1, 2, 3))).tolist() == [12]
    names = get_layout(stored).joints
    for place, name in enumerate(get_layout("coco19").joints):
        sides = {"neck": "shoulder", "pelvis": "hip"}
        pair = [names.index(f"{side}_{sides[name]}") for side in ("left", "right")] if name in sides else []
        place_in_file = names.index(name) if name in names else sum(pair) / 2
        np.testing.assert_allclose(skeleton[12, 0, place], [place_in_file, 2 * place_in_file, 0.5], err_msg=name)


@pytest.mark.parametrize(("layout", "stored"), [("openpose25", "openpose25"), ("halpe136", "halpe26")])
def test_the_first_results_set_the_layout(root, tmp_path, layout, stored):
    assert run(root, written(tmp_path / "all.json", {"squat_1": [entry("0.jpg", layout)]}), layout) == 0
    assert read_manifest(root).skeleton_layout == stored
    assert read_alphapose(skeleton_path(root, "squat_1"), stored, 1).shape == (1, 1, NUM_JOINTS[stored], 3)


def test_openpose_frames_keep_their_numbers_and_absent_frames_stay_absent(root, tmp_path):
    keypoints = entry("x", "openpose25")["keypoints"]
    for frame, num_people in ((0, 1), (3, 2), (4, 0)):
        people = [
            {"person_id": [-1], "pose_keypoints_2d": keypoints},
            {"person_id": [-1], "pose_keypoints_2d": [0.0] * 75},
        ]
        written(
            tmp_path / "openpose" / "squat_1" / f"squat_1_{frame:012d}_keypoints.json", {"people": people[:num_people]}
        )
    assert run(root, tmp_path / "openpose", "openpose25") == 0
    skeleton = read_alphapose(skeleton_path(root, "squat_1"), "openpose25", 6)
    assert np.flatnonzero(skeleton[:, 0].any(axis=(1, 2))).tolist() == [0, 3]
    assert not skeleton[:, 1:].any()


def test_the_persons_with_the_largest_score_times_area_are_kept(root, tmp_path):
    # Sums over the clip: A 2 x 0.5 x 100 = 100, B 400 x 0.2 = 80, C 1 x 121 = 121, D 3 x 1 x 36 = 108.
    entries = [entry(f"{frame}.jpg", at=100, score=0.5, idx=1) for frame in (0, 1)]
    entries += [entry("0.jpg", at=200, size=20, score=0.2, idx=2), entry("1.jpg", at=300, size=11, idx=3)]
    entries += [entry(f"{frame}.jpg", at=400, size=6, idx=4) for frame in (0, 1, 2)]
    assert run(root, written(tmp_path / "all.json", {"squat_1": entries}), "coco17", "--max_persons=3") == 0
    skeleton = read_alphapose(skeleton_path(root, "squat_1"), "coco17", 3)
    np.testing.assert_array_equal(skeleton[:, :, 0, 0], [[0, 400, 100], [300, 400, 100], [0, 400, 0]])


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_person_is_refused_and_nothing_written(root, tmp_path, capsys, number):
    source = written(tmp_path / "all.json", {"squat_1": [entry("0.jpg")]})
    assert run(root, source, "coco17", f"--max_persons={number}") == 2
    assert f"max_persons: expected at least 1, got {number}" in capsys.readouterr().err
    assert not skeleton_path(root, "squat_1").exists()


def test_images_that_count_from_one_are_shifted(root, tmp_path):
    source = written(tmp_path / "all.json", {"squat_1": [entry("000001.jpg"), entry("000003.jpg")]})
    assert run(root, source, "coco17", "--first_frame=1") == 0
    skeleton = read_alphapose(skeleton_path(root, "squat_1"), "coco17", 3)
    assert np.flatnonzero(skeleton.any(axis=(1, 2, 3))).tolist() == [0, 2]


def test_existing_skeletons_are_kept_unless_overwritten(root, tmp_path):
    first = written(tmp_path / "first.json", {"squat_1": [entry("0.jpg")]})
    second = written(tmp_path / "second.json", {"squat_1": [entry("5.jpg")], "lunge": [entry("5.jpg", "halpe26")]})
    assert run(root, first) == 0
    before = skeleton_path(root, "squat_1").read_bytes()
    assert run(root, second, "halpe26") == 0
    assert skeleton_path(root, "squat_1").read_bytes() == before
    assert read_alphapose(skeleton_path(root, "sub/lunge"), "coco17", 6).shape == (6, 1, 17, 3)
    assert run(root, written(tmp_path / "third.json", {"squat_1": [entry("3.jpg")]}), "coco17", "--overwrite") == 0
    assert read_alphapose(skeleton_path(root, "squat_1"), "coco17", 4)[3].any()


def test_invalid_results_are_reported_and_the_other_clips_imported(root, tmp_path, capsys):
    written(tmp_path / "poses" / "squat_1.json", [entry("0.jpg", "openpose18")])
    written(tmp_path / "poses" / "sub" / "lunge.json", [entry("0.jpg")])
    assert run(root, tmp_path / "poses") == 1
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "skeletons: 1 clips, layout coco17"
    assert output[1] == "invalid results: 1 clips"
    assert output[2].startswith("squat_1: entry 0: layout coco17 has 17 joints, got 18")
    assert not skeleton_path(root, "squat_1").exists()


def test_skeletons_that_new_results_do_not_replace_are_named(root, tmp_path, capsys):
    assert run(root, written(tmp_path / "first.json", {"squat_1": [entry("0.jpg")], "lunge": [entry("0.jpg")]})) == 0
    before = skeleton_path(root, "squat_1").read_bytes()
    written(tmp_path / "second" / "squat_1.json", [entry("0.jpg", "openpose18")])
    written(tmp_path / "second" / "sub" / "lunge.json", [entry("3.jpg")])
    assert run(root, tmp_path / "second", "coco17", "--overwrite") == 1
    assert "still with their earlier skeletons: 1 of these clips, such as squat_1" in capsys.readouterr().out
    assert skeleton_path(root, "squat_1").read_bytes() == before


def test_skeletons_in_place_are_converted_all_or_none(root, tmp_path, capsys):
    assert run(root, written(tmp_path / "first.json", {"squat_1": [entry("1.jpg")], "lunge": [entry("0.jpg")]})) == 0
    before = [skeleton_path(root, clip_id).read_bytes() for clip_id in ("squat_1", "sub/lunge")]
    assert run(root, root / "skeletons", "coco17", "--overwrite", "--first_frame=1") == 2
    assert "all or none" in (error := capsys.readouterr().err)
    assert "sub/lunge: expected frames numbered from 1" in error
    assert [skeleton_path(root, clip_id).read_bytes() for clip_id in ("squat_1", "sub/lunge")] == before


def test_results_under_the_name_of_another_clip_are_refused(root, tmp_path, capsys):
    written(tmp_path / "poses" / "squat_1.json", [entry("lunge_000000.jpg"), entry("lunge_000001.jpg")])
    written(tmp_path / "poses" / "sub" / "lunge.json", [entry("lunge_000000.jpg"), entry("frame_000001.jpg")])
    assert run(root, tmp_path / "poses") == 1
    assert "squat_1.json: expected results of squat_1, got images of sub/lunge" in capsys.readouterr().out
    assert not skeleton_path(root, "squat_1").exists()
    assert skeleton_path(root, "sub/lunge").exists()


def test_poses_at_a_rate_need_a_video_of_constant_rate(root, tmp_path, capsys):
    path = video_path(root, "squat_1")
    path.parent.mkdir()
    write_clip(path, range(40), times_s=[*np.arange(10) / 10, *(1 + np.arange(30) / 30)])
    source = written(tmp_path / "all.json", {"squat_1": [entry(f"{frame}.jpg") for frame in range(30)]})
    assert run(root, source, "coco17", "--fps=15") == 1
    assert "squat_1: the poses' frame rate is given, but the video's is variable" in capsys.readouterr().out
    assert run(root, source) == 0


def test_nothing_is_written_where_nothing_fits(root, tmp_path, capsys):
    assert run(root, written(tmp_path / "all.json", [entry("stranger_1.jpg")])) == 2
    assert "none of them" in capsys.readouterr().err
    assert read_manifest(root) == Manifest()
