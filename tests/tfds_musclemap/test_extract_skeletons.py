"""Skeletons extracted by estimator processes: resumed, in parallel, failures reported with their reasons."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import Manifest, read_manifest, write_manifest
from musclemap_jax.data.raw.raw_dataset import Clip, skeleton_path, video_path, write_annotations
from musclemap_jax.data.skeletons.alphapose import read_alphapose, write_alphapose
from tfds_musclemap.extract_skeletons import main
from tfds_musclemap.importing.skeleton_extraction import FAILED

FAKE = Path(__file__).parent / "fake_estimator.py"
COCO17_IN_OPENPOSE18 = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]


@pytest.fixture
def make(tmp_path):
    """A function that writes a raw data set with one clip for each video content that it is given."""

    def write(*contents):
        clips = [Clip(f"clip_{number}", "train", "squat", (1,)) for number in range(len(contents))]
        write_annotations(tmp_path / "raw", clips)
        for clip, content in zip(clips, contents, strict=True):
            path = video_path(tmp_path / "raw", clip.clip_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path / "raw"

    return write


def run(root, *arguments, greeting=""):
    estimator_args = f"{root.parent / 'asked.txt'} {greeting}"
    options = [f"--raw_dir={root}", f"--estimator={FAKE}", f"--estimator_args={estimator_args}"]
    return main([*options, "--num_workers=1", *arguments])


def asked(root):
    """The clips that the estimators were given, in order."""
    path = root.parent / "asked.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def failures(root):
    with (root / FAILED).open(newline="") as file:
        return {row["clip_id"]: row["reason"] for row in csv.DictReader(file)}


def test_joints_are_converted_by_name_and_persons_kept(make, capsys):
    root = make("find 3", "nobody")
    assert run(root) == 0
    skeleton = read_alphapose(skeleton_path(root, "clip_0"), "coco17", 9)
    assert skeleton.shape == (9, 1, 17, 3)
    order = np.array(COCO17_IN_OPENPOSE18)
    for frame in range(3):
        np.testing.assert_allclose(skeleton[frame, 0], np.stack([frame + order, 2 * order, 0.5 + 0 * order], axis=-1))
    assert not skeleton[3:].any()
    entry = json.loads(skeleton_path(root, "clip_0").read_text())[1]
    assert (entry["score"], entry["box"], entry["idx"]) == (0.9, [1, 0, 17, 34], 1)
    assert skeleton_path(root, "clip_1").read_text() == "[]\n"
    assert read_manifest(root).skeleton_layout == "coco17"
    assert capsys.readouterr().out == "skeletons: 2 clips written, 0 failed\n"
    assert sorted(path.name for path in (root / raw_dataset.SKELETONS).iterdir()) == ["clip_0.json", "clip_1.json"]


def test_existing_skeletons_are_kept(make):
    root = make("find 1", "find 1", "find 1")
    skeleton_path(root, "clip_1").parent.mkdir()
    skeleton_path(root, "clip_1").write_text("mine")
    write_manifest(root, Manifest(skeleton_layout="halpe26"))
    assert run(root) == 0
    assert skeleton_path(root, "clip_1").read_text() == "mine"
    assert read_alphapose(skeleton_path(root, "clip_0"), "halpe26", 9).shape == (9, 1, 26, 3)
    assert run(root) == 0
    assert asked(root) == ["clip_0", "clip_2"]


def test_failures_are_reported_listed_and_retried(make, capsys):
    root = make("find 1", "crash", "error", "hang", "nonsense", "frames", "find 2")
    video_path(root, "clip_6").unlink()
    (root.parent / "elsewhere.mp4").write_text("find 2")
    video_path(root, "clip_6").symlink_to(root.parent / "elsewhere.mp4")
    assert run(root, "--timeout=5") == 1
    assert list(failures(root)) == [f"clip_{number}" for number in range(1, 7)]
    reasons = list(failures(root).values())
    assert reasons[0] == "the estimator ended with status 3: out of memory"
    assert reasons[1] == "no such codec"
    assert reasons[2] == "no response within 5 s"
    assert "malformed response: expected the field detections or error" in reasons[3]
    assert "frame 2 of 2" in reasons[4]
    assert "outside the raw data set" in reasons[5]
    assert skeleton_path(root, "clip_0").exists()
    output = capsys.readouterr()
    assert output.out == "skeletons: 1 clips written, 6 failed\n"
    assert "clip_1: the estimator ended with status 3" in output.err
    for number in range(1, 7):
        video_path(root, f"clip_{number}").unlink()
        video_path(root, f"clip_{number}").write_text("find 1")
    assert run(root) == 0
    assert not (root / FAILED).exists()


def test_several_estimators_share_the_clips(make):
    root = make(*["find 2"] * 12)
    assert run(root, "--num_workers=3") == 0
    lines = (root.parent / "asked.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"clip_{number}" for number in range(12))
    assert 2 <= len({line.split()[1] for line in lines}) <= 3
    contents = {skeleton_path(root, f"clip_{number}").read_bytes() for number in range(12)}
    assert len(contents) == 1


def test_a_second_extraction_waits_and_finds_nothing_left(make):
    root = make(*["find 1"] * 4)
    command = [sys.executable, "-m", "tfds_musclemap.extract_skeletons", f"--raw_dir={root}", "--num_workers=1"]
    command += [f"--estimator={FAKE}", f"--estimator_args={root.parent / 'asked.txt'}"]
    both = [subprocess.Popen(command, cwd=FAKE.parents[2], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert asked(root) == ["clip_0", "clip_1", "clip_2", "clip_3"]


def test_an_interrupted_run_is_resumed(make):
    root = make("find 1", "find 1", "hang", "find 1")
    command = [sys.executable, "-m", "tfds_musclemap.extract_skeletons", f"--raw_dir={root}", "--num_workers=1"]
    command += [f"--estimator={FAKE}", f"--estimator_args={root.parent / 'asked.txt'}"]
    process = subprocess.Popen(command, cwd=FAKE.parents[2], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while "clip_2" not in asked(root) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sorted(path.name for path in (root / raw_dataset.SKELETONS).iterdir())
    assert done == ["clip_0.json", "clip_1.json"]
    video_path(root, "clip_2").write_text("find 1")
    assert run(root) == 0
    assert asked(root) == ["clip_0", "clip_1", "clip_2", "clip_2", "clip_3"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"greeting": """'{"protocol": 2}'"""}, "expected a greeting with protocol 1"),
        ({"greeting": """'{"layout": "coco18"}'"""}, "coco18"),
        ({"greeting": "nonsense"}, "the estimator ended with status 1: json.decoder.JSONDecodeError"),
        ({"python": "/nowhere/python"}, "cannot be started: No such file or directory"),
        ({"estimator": "alphapose"}, "--estimator: expected mediapipe or the path of a script, got 'alphapose'"),
        ({"workers": "0"}, "--num_workers"),
        ({"estimator": "mediapipe"}, "the pose model"),
        ({"estimator": "mediapipe", "pose_model": "/nowhere/a.task"}, "--pose_model=/nowhere/a.task: no such file"),
        ({"pose_model": "/nowhere/a.task"}, "--pose_model: only for MediaPipe"),
    ],
)
def test_an_estimator_that_does_not_work_is_one_error(make, monkeypatch, capsys, options, words):
    root = make("find 1", "find 1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "no_model_here"))
    arguments = [f"--estimator_python={options['python']}"] if "python" in options else []
    arguments += [f"--estimator={options['estimator']}"] if "estimator" in options else []
    arguments += [f"--num_workers={options['workers']}"] if "workers" in options else []
    arguments += [f"--pose_model={options['pose_model']}"] if "pose_model" in options else []
    assert run(root, *arguments, greeting=options.get("greeting", "")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert asked(root) == []
    assert not (root / raw_dataset.SKELETONS).exists()


def test_skeletons_of_an_unknown_or_another_layout_are_not_mixed(make, capsys):
    root = make("find 1", "find 1")
    skeleton_path(root, "clip_0").parent.mkdir()
    write_alphapose(skeleton_path(root, "clip_0"), np.ones((9, 1, 26, 3)))
    assert run(root) == 2
    assert "does not name their layout" in capsys.readouterr().err
    assert run(root, "--skeleton_layout=halpe26") == 0
    assert run(root, "--skeleton_layout=coco17") == 2
    assert "expected the layout of its skeletons, halpe26, got --skeleton_layout=coco17" in capsys.readouterr().err
