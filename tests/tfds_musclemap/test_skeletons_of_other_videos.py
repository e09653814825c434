"""Skeletons that do not fit their videos, by the real commands: each names them, and options read them."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from musclemap_jax.data.raw.manifest import Manifest, read_manifest, write_manifest
from musclemap_jax.data.raw.raw_dataset import Clip, skeleton_path, video_path, write_annotations
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from tests.conftest import ROOT
from tfds_musclemap.import_skeletons import main
from tfds_musclemap.prepare import prepare
from tfds_musclemap.verify.__main__ import main as verify

CASES = ROOT / "tests" / "data" / "skeletons" / "cases"
CLIPS = ("a", "sub/b", "c")
NUM_FRAMES, SIZE = 60, (240, 320)


@pytest.fixture
def root(tmp_path):
    """A raw data set of three clips of 60 frames without skeletons."""
    root = tmp_path / "raw"
    write_annotations(root, [Clip(name, "train", "squat", (1,)) for name in CLIPS])
    for name in CLIPS:
        video_path(root, name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CASES / "whole_60_frames.mp4", video_path(root, name))
    return root


def results(tmp_path, case):
    """One file with a case's results for all clips."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(dict.fromkeys(CLIPS, json.loads((CASES / f"{case}.json").read_text()))))
    return path


def lay(root, case):
    """Puts a case's skeletons into the raw data set as they are."""
    for name in CLIPS:
        skeleton_path(root, name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CASES / f"{case}.json", skeleton_path(root, name))
    write_manifest(root, Manifest(skeleton_layout="coco17"))


def run(root, source, *options):
    return main([f"--raw_dir={root}", f"--skeletons={source}", "--skeleton_layout=coco17", *options])


def stored(root, name="sub/b"):
    return read_alphapose(skeleton_path(root, name), "coco17", NUM_FRAMES, SIZE)


GOOD = read_alphapose(CASES / "good.json", "coco17", NUM_FRAMES, SIZE)

NORMALISED = (
    "coordinates from 0.25 to 0.85, expected pixels of the video: normalised by the image's size? {}--image_size=1x1"
)
OUTSIDE = (
    "100 % of the joints lie outside of the frame (x up to 1254, y up to 1224 in 320x240 pixels): poses of a larger "
    "original? {}--image_size=WIDTHxHEIGHT"
)
SCORES = "expected joint scores from 0 to 1, got 90 on average: import them with --max_score (100 for percentages)"
PLANAR = "got what looks like all x, then all y, then all scores: write the numbers joint by joint"
HALF = "the skeletons end at 50 % of their videos (median of 3 clips): poses at another frame rate? --fps=15"

NAMED = {
    "halfrate": (2, HALF),
    "onebased": (2, "no clip has frame 0, 3 of 3 begin at frame 1: numbered from 1? --first_frame=1"),
    "orig_res": (2, OUTSIDE.format("")),
    "norm": (1, NORMALISED.format("")),
    "score90": (1, SCORES),
    "planar": (1, PLANAR),
}
"""Case -> the exit status of the import, and what it says."""

REJECTED = {
    "onebased": "frames 1 to 60 of a video with the frames 0 to 59: numbered from 1? Import it again with --first_fr",
    "orig_res": OUTSIDE.format("Import it again with "),
    "norm": NORMALISED.format("Import it again with "),
    "score90": SCORES,
    "planar": PLANAR,
}
"""Case -> why the build rejects its clips."""


@pytest.mark.parametrize("case", NAMED)
def test_the_import_names_what_does_not_fit_and_writes_nothing(root, tmp_path, capsys, case):
    status, words = NAMED[case]
    assert run(root, results(tmp_path, case)) == status
    output = capsys.readouterr()
    assert words in (output.err if status == 2 else output.out)
    assert not any(skeleton_path(root, name).exists() for name in CLIPS)
    assert read_manifest(root) == Manifest()  # no layout without skeletons
    assert sorted(path.name for path in root.iterdir()) == ["annotations.csv", "clips"]


FIXES = {
    "good": [],
    "new_id_every_10": [],
    "onebased": ["--first_frame=1"],
    "orig_res": ["--image_size=1920x1440"],
    "norm": ["--image_size=1x1"],
    "score90": ["--max_score=100"],
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("case", FIXES)
def test_an_option_reads_them_as_they_are(root, tmp_path, capsys, case, in_place):
    options = FIXES[case]
    if in_place:
        lay(root, case)
        options = [*options, "--overwrite"]
    assert run(root, root / "skeletons" if in_place else results(tmp_path, case), *options) == 0
    assert capsys.readouterr().out == "skeletons: 3 clips, layout coco17\n"
    for name in CLIPS:
        np.testing.assert_allclose(stored(root, name), GOOD, atol=0.0101)


def test_poses_at_half_the_frame_rate_are_interpolated(root, tmp_path):
    assert run(root, results(tmp_path, "halfrate"), "--fps=15") == 0
    slow = read_alphapose(CASES / "halfrate.json", "coco17", 30, SIZE)[:, 0]
    skeleton = stored(root)
    assert skeleton.shape == (60, 1, 17, 3)
    np.testing.assert_allclose(skeleton[::2, 0], slow, atol=0.006)
    np.testing.assert_allclose(skeleton[1:-1:2, 0], (slow[:-1] + slow[1:]) / 2, atol=0.006)
    np.testing.assert_allclose(skeleton[-1, 0], slow[-1], atol=0.006)


def test_poses_of_every_second_frame_are_named_and_interpolated(root, tmp_path, capsys):
    entries = json.loads((CASES / "good.json").read_text())[::2]
    (tmp_path / "results.json").write_text(json.dumps(dict.fromkeys(CLIPS, entries)))
    assert run(root, tmp_path / "results.json") == 2
    words = "in 3 of 3 clips no more than one in 2 frames has poses, at equal distances? --frame_step=2"
    assert words in capsys.readouterr().err
    assert run(root, tmp_path / "results.json", "--frame_step=2") == 0
    np.testing.assert_allclose(stored(root)[:-1, 0], GOOD[:-1, 0], atol=1.01)  # moves by 1 a frame
    np.testing.assert_allclose(stored(root)[::2], GOOD[::2], atol=0.006)
    assert run(root, results(tmp_path, "good"), "--frame_step=2", "--overwrite") == 1
    assert "a: expected poses of every 2 frames, got some of frame 1" in capsys.readouterr().out


def test_converting_in_place_a_second_time_is_refused(root, capsys):
    for case, option in (("onebased", "--first_frame=1"), ("orig_res", "--image_size=1920x1440")):
        lay(root, case)
        assert run(root, root / "skeletons", option, "--overwrite") == 0
        before = skeleton_path(root, "a").read_bytes()
        assert run(root, root / "skeletons", option, "--overwrite") != 0
        assert skeleton_path(root, "a").read_bytes() == before
    output = capsys.readouterr()
    assert "a: expected frames numbered from 1, got an earlier one" in output.err
    assert "all poses lie inside of the videos' frames already: leave out --image_size" in output.err


def test_the_check_can_be_overruled(root, tmp_path):
    assert run(root, results(tmp_path, "halfrate"), "--force") == 0
    assert not stored(root)[30:].any()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--image_size=1920", "image_size: expected WIDTHxHEIGHT in pixels, such as 1920x1080, got '1920'"),
        ("--fps=0", "fps: expected a number above 0, got 0.0"),
        ("--max_score=-1", "max_score: expected a number above 0, got -1.0"),
        ("--frame_step=0", "frame_step: expected a number of at least 1, got 0"),
        ("--first_frame=-1", "first_frame: expected a number of at least 0, got -1"),
    ],
)
def test_an_invalid_option_is_one_line(root, tmp_path, capsys, option, message):
    assert run(root, results(tmp_path, "good"), option) == 2
    assert message in capsys.readouterr().err


def test_a_video_that_is_needed_but_cannot_be_read(root, tmp_path, capsys):
    for name in CLIPS:
        video_path(root, name).write_bytes(b"")
    assert run(root, results(tmp_path, "norm"), "--image_size=1x1") == 1
    assert "a: the images' size is given, but the video cannot be read to scale to its own" in capsys.readouterr().out
    assert run(root, results(tmp_path, "good")) == 0  # the builder reports the video


@pytest.mark.parametrize("case", REJECTED)
def test_the_build_names_every_clip_whose_skeleton_does_not_fit(root, tmp_path, case):
    lay(root, case)
    with pytest.raises(UserError, match="rejected 1 of 3 clips") as error:
        prepare("skeleton", tmp_path / "data", root, num_workers=1)
    assert REJECTED[case] in str(error.value)


def test_verify_names_half_the_frame_rate_and_what_a_model_sees(root, tmp_path, capsys):
    lay(root, "halfrate")
    prepare("skeleton", tmp_path / "data", root, num_workers=1)
    assert verify([f"--data_dir={tmp_path / 'data'}", "--num_workers=1"]) == 1
    output = capsys.readouterr().out
    assert f"fault: skeletons: {HALF}" in output
    report = json.loads(next((tmp_path / "data").rglob("dataset.json")).read_text())
    assert report["splits"]["train"]["frames_with_first_persons"] == 0.5


def test_a_nan_joint_is_absent_and_counted(root, tmp_path, capsys):
    entries = json.loads((CASES / "good.json").read_text())
    entries[3]["keypoints"][0] = float("nan")
    entries[4]["keypoints"][5] = float("nan")
    (tmp_path / "results.json").write_text(json.dumps({"a": entries}))
    assert run(root, tmp_path / "results.json") == 0
    assert "NaN, taken as absent: 2 joints in 1 clips" in capsys.readouterr().out
    expected = GOOD.copy()
    expected[3, 0, 0] = expected[4, 0, 1] = 0
    np.testing.assert_allclose(stored(root, "a"), expected, atol=0.006)


def annotation(name, image_size, dtype=np.float16):
    """PYSKL's annotation of the good poses, in pixels of images of another size."""
    keypoint = GOOD.transpose(1, 0, 2, 3)[..., :2] * np.float32([image_size[1] / 320, image_size[0] / 240])
    return {
        "frame_dir": name,
        "label": 3,
        "img_shape": image_size,
        "original_shape": image_size,
        "total_frames": NUM_FRAMES,
        "keypoint": keypoint.astype(dtype),
        "keypoint_score": GOOD.transpose(1, 0, 2, 3)[..., 2].astype(dtype),
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_mmaction2_and_pyskl_are_read_in_the_size_that_they_give(root, tmp_path, protocol):
    annotations = [
        annotation(name, size) for name, size in zip(CLIPS, ((240, 320), (480, 640), (120, 160)), strict=True)
    ]
    content = {"split": {"train": list(CLIPS)}, "annotations": annotations}
    (tmp_path / "all.pkl").write_bytes(pickle.dumps(content, protocol))
    assert run(root, tmp_path / "all.pkl") == 0
    for name in CLIPS:
        np.testing.assert_allclose(stored(root, name), GOOD, atol=0.3)  # half precision


def test_one_pickle_for_each_clip_and_what_is_refused(root, tmp_path, capsys):
    folder = tmp_path / "poses"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.pkl").write_bytes(pickle.dumps(annotation("any", SIZE, np.float32)))
    (folder / "sub" / "b.pkl").write_bytes(pickle.dumps({"frame_dir": "b", "raw_file": "b.pkl"}))
    (folder / "c.pkl").write_bytes(pickle.dumps({"frame_dir": skeleton_path}))
    assert run(root, folder) == 1
    output = capsys.readouterr().out
    np.testing.assert_allclose(stored(root, "a"), GOOD, atol=0.006)
    assert "expected the arrays 'keypoint' and 'keypoint_score', got the fields frame_dir, raw_file" in output
    assert "the pickle contains the name 'musclemap_jax.data.raw.raw_dataset.skeleton_path'" in output
    three = annotation("x", SIZE)
    three["keypoint"] = np.zeros((1, 60, 25, 3), np.float32)
    (tmp_path / "all.pkl").write_bytes(pickle.dumps([three]))
    assert run(root, tmp_path / "all.pkl") == 2
    assert "expected 2D skeletons, keypoint (P, T, V, 2)" in capsys.readouterr().err
