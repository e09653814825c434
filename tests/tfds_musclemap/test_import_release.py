"""A release in the authors' layout becomes a raw data set, completely or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.flow import flow_paths
from musclemap_jax.data.raw.manifest import LinkError, Manifest, check_file, read_manifest
from musclemap_jax.data.raw.raw_dataset import Clip, read_annotations, skeleton_path, video_path
from musclemap_jax.data.raw.video import read_video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from tests.tfds_musclemap import release
from tests.tfds_musclemap.release import Video, default_videos, write_lists, write_release
from tfds_musclemap.import_release import main
from tfds_musclemap.importing import release as module

OUR_SPLITS = dict(zip(release.SPLITS, ("train", "val_known", "val_new", "test_known", "test_new"), strict=True))


@pytest.fixture
def folder(tmp_path):
    """A release whose video files are not videos."""
    return write_release(tmp_path / "release", default_videos())


def run(*arguments):
    return main([str(argument) for argument in arguments])


def refused(capsys, out, *arguments):
    """Asserts exit status 2, one line and nothing written; returns the line."""
    assert run(f"--out={out}", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}*"))
    return error


def test_every_clip_has_its_split_activity_muscles_and_a_link_to_its_video(folder, tmp_path, capsys):
    out = tmp_path / "raw"
    assert run(f"--release={folder}", f"--out={out}") == 0
    expected = [
        Clip(item.path.removesuffix(".mp4"), OUR_SPLITS[item.split], item.activity, item.muscles)
        for item in default_videos()
    ]
    assert read_annotations(out) == expected
    for item, clip in zip(default_videos(), expected, strict=True):
        path = video_path(out, clip.clip_id)
        assert path.is_symlink()
        check_file(out, path)
        assert path.read_bytes() == (folder / "musclemap_rescale" / item.path).read_bytes()
    assert read_manifest(out) == Manifest("MuscleMap", str(folder / "musclemap_rescale"))
    assert capsys.readouterr().out.splitlines()[-1] == f"raw data set: {out}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "release"]


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_lists_may_contain_numpy_integers_in_any_protocol(tmp_path, protocol):
    folder = write_release(tmp_path / "release", default_videos(), protocol=protocol, labels=np.array)
    assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}") == 0
    assert [clip.muscles for clip in read_annotations(tmp_path / "raw")] == [item.muscles for item in default_videos()]


def test_splits_in_one_command_or_one_after_another_give_the_same(folder, tmp_path):
    options = {
        split: (
            f"--videos={folder / f'{split}_muscle_map.pkl'}",
            f"--labels={folder / f'{split}_muscle_map_label.pkl'}",
            f"--split={split}",
        )
        for split in release.SPLITS
    }
    once = [option for split in release.SPLITS for option in options[split]]
    assert run(*once, f"--out={tmp_path / 'once'}") == 0
    for split in release.SPLITS:
        assert run(*options[split], f"--out={tmp_path / 'several'}") == 0
    trees = []
    for name in ("once", "several"):
        root = tmp_path / name
        files = sorted(path.relative_to(root) for path in root.rglob("*") if not path.is_dir())
        trees.append(
            [
                (file, os.readlink(root / file) if (root / file).is_symlink() else (root / file).read_bytes())
                for file in files
            ]
        )
    assert trees[0] == trees[1]
    assert len(read_annotations(tmp_path / "several")) == 10


def test_a_given_name_is_kept_when_splits_are_added(folder, tmp_path):
    for split, options in (("train", ["--name=part"]), ("val_seen", [])):
        lists = [
            f"--{kind}={folder / f'{split}_muscle_map{end}.pkl'}"
            for kind, end in (("videos", ""), ("labels", "_label"))
        ]
        assert run(*lists, f"--split={split}", f"--out={tmp_path / 'raw'}", *options) == 0
    assert read_manifest(tmp_path / "raw").name == "part"


def test_a_split_that_cannot_be_added_leaves_the_raw_data_set_as_it_was(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "raw"
    train = [f"--videos={folder / 'train_muscle_map.pkl'}", f"--labels={folder / 'train_muscle_map_label.pkl'}"]
    val = [f"--videos={folder / 'val_seen_muscle_map.pkl'}", f"--labels={folder / 'val_seen_muscle_map_label.pkl'}"]
    assert run(*train, "--split=train", f"--out={out}") == 0
    before = sorted(out.rglob("*")), (out / "annotations.csv").read_bytes()
    for arguments in ([*train, "--split=train"], [*val, "--split=val_unseen"]):
        assert run(*arguments, f"--out={out}") == 2
        assert (sorted(out.rglob("*")), (out / "annotations.csv").read_bytes()) == before
    errors = capsys.readouterr().err.splitlines()
    assert "expected each clip once" in errors[0]
    assert "'seen_0' in val_new here and in train" in errors[1]

    replace = os.replace

    def full_disk(source, target):
        if str(target).endswith("annotations.csv"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", full_disk)
    assert run(*val, "--split=val_seen", f"--out={out}") == 2
    assert "No space left" in capsys.readouterr().err
    files = [path for path in sorted(out.rglob("*")) if not path.is_dir()]
    assert files == [path for path in before[0] if not path.is_dir()]
    assert (out / "annotations.csv").read_bytes() == before[1]


def test_a_killed_import_leaves_no_folder_and_the_next_one_cleans_up(folder, tmp_path):
    out = tmp_path / "raw"
    command = "import os, sys\nfrom tfds_musclemap import import_release\n"
    command += "from tfds_musclemap.importing import release\n"
    command += "release._install = lambda *a, **k: os.kill(os.getpid(), 9)\nimport_release.main(sys.argv[1:])"
    killed = subprocess.run([sys.executable, "-c", command, f"--release={folder}", f"--out={out}"], check=False)
    assert killed.returncode == -9
    assert not out.exists()
    assert (tmp_path / ".raw.unfinished").exists()
    assert run(f"--release={folder}", f"--out={out}") == 0
    assert not (tmp_path / ".raw.unfinished").exists()
    assert len(read_annotations(out)) == 10


def test_activities_of_other_paths_are_read_from_the_table(tmp_path, capsys):
    videos = [Video("train", "a.mp4", None, (1,)), Video("train", "sub/b.avi", None, (2,))]
    folder = write_release(tmp_path / "release", [*videos, Video("train", "c_AN_row_ST_1.mp4", "row", (3,))])
    table = tmp_path / "table.csv"
    table.write_text("note,clip_id,activity\n,a,squat\n,b,push-up\n,c_AN_row_ST_1,not looked at\n")
    assert "between 'AN_' and '_ST'" in refused(capsys, tmp_path / "raw", f"--release={folder}")
    assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}", f"--activities={table}") == 0
    clips = read_annotations(tmp_path / "raw")
    assert [(clip.clip_id, clip.activity) for clip in clips] == [
        ("a", "squat"),
        ("sub/b", "push-up"),
        ("c_AN_row_ST_1", "row"),
    ]


@pytest.mark.parametrize(
    ("path", "activity"),
    [
        ("a_AN_RUSSIAN_TWIST_ST_0_ET_9.mp4", "RUSSIAN_TWIST"),
        ("a_AN_BARBELL_STEP_UP_ST_0_ET_9.mp4", "BARBELL_STEP_UP"),
        ("sub/AN_stretch_ST.mp4", "stretch"),
    ],
)
def test_the_markers_of_an_activity_are_words_of_their_own(tmp_path, path, activity):
    folder = write_release(tmp_path / "release", [Video("train", path, None, (1,))])
    assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}") == 0
    assert [clip.activity for clip in read_annotations(tmp_path / "raw")] == [activity]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("a,squat\n", "line 1: expected the columns clip_id,activity"),
        ("clip_id,activity\na,squat\na,row\n", "line 3: expected one activity for 'a'"),
        ("clip_id,activity\na,\n", "line 2: expected clip_id and activity, got an empty value"),
        ("clip_id,activity\n\xff", "UTF-8"),
    ],
)
def test_an_invalid_table_is_reported(tmp_path, capsys, table, words):
    folder = write_release(tmp_path / "release", [Video("train", "a.mp4", None, (1,))])
    (tmp_path / "table.csv").write_bytes(table.encode("latin1"))
    assert words in refused(capsys, tmp_path / "raw", f"--release={folder}", f"--activities={tmp_path / 'table.csv'}")


@pytest.mark.parametrize(
    "path",
    [
        "../x_AN_a_ST_1.mp4",
        "sub/../../x_AN_a_ST_1.mp4",
        "/etc/x_AN_a_ST_1.mp4",
        "C:\\x_AN_a_ST_1.mp4",
        "/home/someone/musclemap_trimmed/../x_AN_a_ST_1.mp4",
        "..\\x_AN_a_ST_1.mp4",
        "x\x00_AN_a_ST_1.mp4",
        "/",
        ".",
    ],
)
def test_paths_that_leave_the_folder_are_refused(folder, tmp_path, capsys, path):
    (folder / "x_AN_a_ST_1.mp4").write_bytes(b"outside")
    write_lists(folder, "train", [path], [[1]])
    error = refused(capsys, tmp_path / "raw", f"--release={folder}")
    assert "train_muscle_map.pkl, item 0: " in error
    assert "leaves" in error


def test_links_that_leave_the_folder_are_refused(folder, tmp_path, capsys):
    (folder / "secret.mp4").write_bytes(b"outside")
    (folder / "musclemap_rescale" / "x_AN_a_ST_1.mp4").symlink_to(folder / "secret.mp4")
    write_lists(folder, "train", ["x_AN_a_ST_1.mp4"], [[1]])
    assert "outside " in refused(capsys, tmp_path / "raw", f"--release={folder}")
    (folder / "musclemap_rescale" / "y_AN_a_ST_1.mp4").mkdir()
    write_lists(folder, "train", ["y_AN_a_ST_1.mp4"], [[1]])
    assert "expected a video file" in refused(capsys, tmp_path / "raw", f"--release={folder}")


def test_a_link_that_is_redirected_after_the_import_is_refused_by_the_reader(folder, tmp_path):
    out = tmp_path / "raw"
    run(f"--release={folder}", f"--out={out}")
    path = video_path(out, read_annotations(out)[0].clip_id)
    path.unlink()
    path.symlink_to(folder / "train_muscle_map.pkl")
    with pytest.raises(LinkError):
        check_file(out, path)


def test_absent_videos_are_an_error_or_left_out_and_reported(folder, tmp_path, capsys):
    (folder / "musclemap_rescale" / default_videos()[3].path).unlink()
    error = refused(capsys, tmp_path / "raw", f"--release={folder}")
    assert f"1 of 10 videos are not in {folder / 'musclemap_rescale'}, such as 003_AN_seen_1" in error
    assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}", "--skip_missing") == 0
    assert len(read_annotations(tmp_path / "raw")) == 9
    assert "left out, no video: 1 clips, such as 003_AN_seen_1" in capsys.readouterr().out


def test_a_repeated_clip_is_reported_with_both_locations(folder, tmp_path, capsys):
    path = default_videos()[0].path
    (folder / "musclemap_rescale" / path).with_suffix(".avi").write_bytes(b"the same clip id")
    write_lists(folder, "val_seen", [path.replace(".mp4", ".avi")], [[1]])
    error = refused(capsys, tmp_path / "raw", f"--release={folder}")
    assert f"{folder}/val_seen_muscle_map.pkl, item 0: expected each clip once" in error
    assert f"which is also {folder}/train_muscle_map.pkl, item 0" in error


def test_an_unseen_activity_in_a_seen_split_is_reported(folder, tmp_path, capsys):
    write_lists(folder, "val_unseen", [default_videos()[4].path.replace("unseen_0", "seen_0")], [[1]])
    (folder / "musclemap_rescale" / default_videos()[4].path.replace("unseen_0", "seen_0")).write_bytes(b"")
    assert "expected new activities in val_new and test_new only" in refused(
        capsys, tmp_path / "raw", f"--release={folder}"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: write_lists(folder, "train", ["a_AN_b_ST"], [[1], [2]]), "expected 1 lists, one for each path"),
        (lambda folder: (folder / "train_muscle_map_label.pkl").unlink(), "one of its labels, found only this one"),
        (
            lambda folder: (folder / "train_cleanup.pkl").write_bytes(b""),
            "found train_cleanup.pkl, train_muscle_map.pkl",
        ),
        (
            lambda folder: (folder / "train_muscle_map.pkl").write_bytes(b"cos\nsystem\n."),
            "'os.system' (opcode GLOBAL",
        ),
        (lambda folder: [path.unlink() for path in folder.glob("*.pkl")], "expected pickled lists such as"),
    ],
)
def test_invalid_lists_are_reported(folder, tmp_path, capsys, change, words):
    change(folder)
    assert words in refused(capsys, tmp_path / "raw", f"--release={folder}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected either --release, or --videos, --labels and --split"),
        (
            ["--release=x", "--first_frame=1", "--force"],
            "--first_frame, --force: only with pose results: add --skeletons",
        ),
        (["--release=x", "--skeleton_layout=halpe26"], "--skeleton_layout: only with pose results"),
        (["--videos=x.pkl", "--split=train"], "the same number of times"),
        (["--videos=x.pkl", "--labels=y.pkl", "--split=test"], "got 'test'"),
        (["--release=nowhere", "--videos=x", "--labels=y", "--split=train"], "expected either --release, or"),
        (2 * ["--videos=x.pkl", "--labels=y.pkl", "--split=train"], "each split once"),
        (["--videos=x.pkl", "--labels=y.pkl", "--split=train", "--video_root=nowhere"], "nowhere: expected the folder"),
    ],
)
def test_contradictory_options_are_refused(tmp_path, capsys, arguments, words):
    assert words in refused(capsys, tmp_path / "raw", *arguments)


def test_a_folder_of_something_else_is_not_written_to(folder, tmp_path, capsys):
    for name in ("something", "file"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_text("kept")
        assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}") == 2
        assert "choose another --out" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["file", "something"]


def test_optical_flow_is_linked_where_requested_and_complete(folder, tmp_path, capsys):
    assert "expected the release's optical flow" in refused(capsys, tmp_path / "raw", f"--release={folder}", "--flow")
    for axis in "xy":
        for item in default_videos()[axis == "y" :]:  # the first clip lacks y
            path = folder / f"musclemap_opticalflow_video_{axis}" / item.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{item.path} {axis}")
    out = tmp_path / "raw"
    assert run(f"--release={folder}", f"--out={out}", "--flow") == 0
    assert "without optical flow: 1 clips" in capsys.readouterr().out
    assert read_manifest(out).video_root == str(folder)
    for item, clip in zip(default_videos(), read_annotations(out), strict=True):
        check_file(out, video_path(out, clip.clip_id))
        for axis, path in zip("xy", flow_paths(out, clip.clip_id), strict=True):
            if item == default_videos()[0]:
                assert not path.exists()
            else:
                check_file(out, path)
                assert path.read_text() == f"{item.path} {axis}"


def test_videos_and_skeletons_of_an_import_are_those_of_the_release(tmp_path, example):
    clip_frames, clip_skeleton = example
    videos = default_videos(1)
    folder = write_release(tmp_path / "release", videos, frames=clip_frames)
    entries = []
    for number, item in enumerate(videos):
        for frame, person in np.argwhere(clip_skeleton(number, 136).any(axis=(-1, -2))):
            joints = clip_skeleton(number, 136)[frame, person]
            name = f"{Path(item.path).stem}_{frame:06d}.jpg"
            box = [0, 0, *joints[:, :2].max(axis=0).tolist()]
            entries.append({"image_id": name, "keypoints": joints.ravel().tolist(), "score": 1.0, "box": box})
    (tmp_path / "poses.json").write_text(json.dumps(entries))
    out = tmp_path / "raw"
    options = [f"--skeletons={tmp_path / 'poses.json'}", "--skeleton_layout=halpe136"]
    assert run(f"--release={folder}", f"--out={out}", *options) == 0
    assert read_manifest(out).skeleton_layout == "halpe26"
    for number, clip in enumerate(read_annotations(out)):
        frames = np.stack(list(read_video(video_path(out, clip.clip_id)).frames)).astype(np.int32)
        assert np.abs(frames - clip_frames(number)).mean() < 6
        skeleton = read_alphapose(skeleton_path(out, clip.clip_id), "halpe26", len(frames))
        np.testing.assert_allclose(skeleton, clip_skeleton(number, 136)[:, :, :26], atol=0.006)


def test_clips_without_results_are_reported_and_get_no_skeleton(folder, tmp_path, capsys):
    name = Path(default_videos()[0].path).stem
    poses = tmp_path / "poses"
    poses.mkdir()
    (poses / f"{name}.json").write_text(json.dumps([{"image_id": "0.jpg", "keypoints": [5.0, 5.0, 1.0] * 17}]))
    (poses / f"{Path(default_videos()[1].path).stem}.json").write_text("[")
    assert run(f"--release={folder}", f"--out={tmp_path / 'raw'}", f"--skeletons={poses}") == 1
    output = capsys.readouterr().out
    assert "skeletons: 1 clips, layout coco17" in output
    assert "without results: 8 clips" in output
    assert "invalid results: 1 clips" in output
    assert read_alphapose(skeleton_path(tmp_path / "raw", name), "coco17", 6).shape == (6, 1, 17, 3)
    files = [path for path in (tmp_path / "raw" / raw_dataset.SKELETONS).rglob("*") if path.is_file()]
    assert len(files) == 1


@pytest.mark.parametrize("path", [" x_AN_a_ST_1.mp4", "x\n_AN_a_ST_1.mp4", "x\\y_AN_a_ST_1 .mp4"])
def test_paths_that_are_no_valid_clip_id_are_refused(folder, tmp_path, capsys, path):
    (folder / "musclemap_rescale" / path).write_bytes(b"video")
    write_lists(folder, "train", [path], [[1]])
    assert "train_muscle_map.pkl, item 0, column clip_id" in refused(capsys, tmp_path / "raw", f"--release={folder}")
