"""Prepared data whose sources have changed: what is noticed, what is no change, and how the data is built again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import Manifest, write_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerCrash
from tfds_musclemap.build import build, changes, sources
from tfds_musclemap.build.build_log import read_stored_clips
from tfds_musclemap.build.sources import read_sources
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.prepare import load_source, main, prepare

DATA = Path("musclemap", "multimodal", str(Builder.VERSION))


@pytest.fixture
def copied(prepared, tmp_path):
    """(raw data set, data_dir): copies of what was prepared, with their times."""
    root, builder = prepared
    shutil.copytree(root, tmp_path / "raw")
    shutil.copytree(builder.data_path, tmp_path / "data" / DATA)
    return tmp_path / "raw", tmp_path / "data"


def other_video(root):
    shutil.copy(root / "clips/val_new_0.mp4", root / "clips/train_0.mp4")


def same_size(root):
    path = root / "skeletons/train_1.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0", b"1", 1))
    assert len(path.read_bytes()) == len(data)


def four_skeletons(root):
    for number in range(4):
        with (root / f"skeletons/{('train_0', 'train_1', 'val_new_0', 'val_new_1')[number]}.json").open("a") as file:
            file.write(" ")


def removed(root):
    (root / "clips/train_0.mp4").unlink()


def a_dangling_link(root):
    removed(root)
    (root / "clips/train_0.mp4").symlink_to("nowhere")


def another_suffix(root):
    (root / "clips/train_0.mp4").rename(root / "clips/train_0.MOV")


def more_clips(root):
    clips = raw_dataset.read_annotations(root)
    raw_dataset.write_annotations(root, [*clips, raw_dataset.Clip("more", "train", "known 0", (1,))])


def fewer_clips(root):
    raw_dataset.write_annotations(root, raw_dataset.read_annotations(root)[:-1])


def other_labels(root):
    first, *others = raw_dataset.read_annotations(root)
    raw_dataset.write_annotations(root, [raw_dataset.Clip("train_0", "val_known", first.activity, (2,)), *others])


def other_name(root):
    write_manifest(root, Manifest("mine", allow_background=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_video, "1 file changed (clips/train_0.mp4)"),
        (same_size, "1 file changed (skeletons/train_1.json)"),
        (
            four_skeletons,
            "4 files changed (skeletons/train_0.json, skeletons/train_1.json, skeletons/val_new_0.json and 1 more)",
        ),
        (removed, "1 file removed (clips/train_0.mp4)"),
        (a_dangling_link, "1 file removed (clips/train_0.mp4)"),
        (another_suffix, "1 file added (clips/train_0.MOV); 1 file removed (clips/train_0.mp4)"),
        (more_clips, "1 clip added to annotations.csv (more)"),
        (fewer_clips, "1 clip removed from annotations.csv (test_new_1)"),
        (other_labels, "1 clip labelled differently in annotations.csv (train_0)"),
        (other_name, "name, allow_background changed in raw_dataset.json"),
    ],
)
def test_a_change_of_the_sources_is_named(copied, change, words):
    root, data_dir = copied
    change(root)
    with pytest.raises(UserError) as error:
        prepare("multimodal", data_dir, root)
    assert str(error.value) == (
        f"{data_dir / DATA}: the prepared data is out of date: {words}: build it again with --overwrite "
        "(in a run, with --config.data.rebuild=True) or choose another data_dir"
    )
    assert prepare("multimodal", data_dir).info.splits.total_num_examples == 10  # nothing to compare with


def nothing(root):
    pass


def later_times(root):
    for path in root.rglob("*.*"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def a_copy_without_times(root):
    for path in list(root.rglob("*.*")):
        path.write_bytes(path.read_bytes())


def another_table(root):
    clips = raw_dataset.read_annotations(root)
    lines = [f'{clip.clip_id};{clip.split};{clip.activity};"{";".join(map(str, clip.muscles))}"' for clip in clips]
    (root / "annotations.csv").write_text("\n".join(["Clip ID;Split;Activity;Muscles", *reversed(lines)]))


def what_this_config_does_not_store(root):
    (root / "flow").mkdir()
    (root / "flow/train_0_x.mp4").touch()
    (root / "README").touch()
    write_manifest(root, Manifest(skeleton_layout="coco17", video_root=str(root)))


@pytest.mark.parametrize(
    "change", [nothing, later_times, a_copy_without_times, another_table, what_this_config_does_not_store]
)
def test_equal_sources_are_no_change(copied, monkeypatch, change):
    root, data_dir = copied
    change(root)
    prepare("multimodal", data_dir, root)
    files = [source for of_clip in read_sources(data_dir / DATA).values() for source in of_clip]
    assert len(files) == 20
    assert {source.mtime_ns for source in files} == {(root / source.name).stat().st_mtime_ns for source in files}
    # Their times are known now: no content is read again.
    monkeypatch.setattr(sources, "_sha256", lambda path: pytest.fail(f"{path} is read"))
    prepare("multimodal", data_dir, root)


def test_an_absent_or_empty_raw_folder_is_nothing_to_compare_with(copied):
    root, data_dir = copied
    shutil.rmtree(root)
    for _ in range(2):
        assert prepare("multimodal", data_dir, root).info.splits.total_num_examples == 10
        root.mkdir(exist_ok=True)


def test_the_list_of_read_only_data_is_left_alone(copied, monkeypatch):
    root, data_dir = copied
    later_times(root)

    def refuse(*_):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(changes, "write_sources", refuse)
    before = (data_dir / DATA / "sources.csv").read_bytes()
    prepare("multimodal", data_dir, root)
    assert (data_dir / DATA / "sources.csv").read_bytes() == before


@pytest.mark.parametrize("options", [{"overwrite": True}, {"rebuild": True}])
def test_data_is_built_again_with_the_new_content(copied, capsys, options):
    root, data_dir = copied
    other_labels(root)
    other_video(root)
    builder = prepare("multimodal", data_dir, root, num_workers=1, **options)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1, "val_known": 3, "val_new": 2, "test_known": 2, "test_new": 2
    }  # fmt: skip
    records = {record["clip_id"]: record for record in load_source(builder, "val_known")}
    (copy, *_) = [record for record in load_source(builder, "val_new") if record["clip_id"] == "val_new_0"]
    assert records["train_0"]["frames"] == copy["frames"]
    assert records["train_0"]["muscles"].nonzero()[0].tolist() == [2]
    assert builder.info.metadata["max_examples_per_split"] is None
    prepare("multimodal", data_dir, root)
    assert ("building it again: 1 clip labelled differently" in capsys.readouterr().err) == ("rebuild" in options)


def test_data_that_is_up_to_date_is_built_again_by_overwrite_alone(copied):
    root, data_dir = copied
    marker = data_dir / DATA / "marker"
    marker.touch()
    prepare("multimodal", data_dir, root, rebuild=True)
    assert marker.exists()
    assert main(["--config=multimodal", f"--data_dir={data_dir}", f"--raw_dir={root}", "--overwrite"]) == 0
    assert not marker.exists()


def test_nothing_is_deleted_for_a_raw_data_set_that_cannot_be_built(copied):
    root, data_dir = copied
    (root / "annotations.csv").write_text("clip_id\n")
    with pytest.raises(UserError, match="expected the columns"):
        prepare("multimodal", data_dir, root, overwrite=True)
    assert load_source(data_dir / DATA, "train")


def test_the_command_says_what_changed_with_status_2(copied, capsys):
    root, data_dir = copied
    other_video(root)
    assert main(["--config=multimodal", f"--data_dir={data_dir}", f"--raw_dir={root}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: {data_dir / DATA}: the prepared data is out of date: 1 file changed (clips/train_0"
    )
    assert error.count("\n") == 1


def test_a_rejected_clip_that_was_fixed_is_a_change(folder, tmp_path):
    path = raw_dataset.skeleton_path(folder, "train_0")
    path.rename(tmp_path / "kept")
    video = raw_dataset.video_path(folder, "train_1")
    video.write_bytes(b"")
    prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.5)
    prepare("multimodal", tmp_path, folder)
    shutil.copy(raw_dataset.video_path(folder, "val_new_0"), video)
    (tmp_path / "kept").rename(path)
    with pytest.raises(
        UserError, match=r"1 file changed \(clips/train_1.mp4\); 1 file added \(skeletons/train_0.json\)"
    ):
        prepare("multimodal", tmp_path, folder)


def test_a_rejected_link_that_was_allowed_is_a_change(folder, tmp_path, capsys):
    path = raw_dataset.video_path(folder, "train_0")
    (tmp_path / "videos").mkdir()
    path.rename(tmp_path / "videos" / path.name)
    path.symlink_to(tmp_path / "videos" / path.name)
    prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.5)
    capsys.readouterr()
    prepare("multimodal", tmp_path, folder)
    assert "; rejected 1 of 10, see " in capsys.readouterr().out
    write_manifest(folder, Manifest(video_root=str(tmp_path / "videos")))
    with pytest.raises(UserError, match=r"1 file changed \(clips/train_0.mp4\)"):
        prepare("multimodal", tmp_path, folder)


def test_a_clip_that_crashed_its_worker_is_compared_by_size_and_time(folder, tmp_path, monkeypatch):
    read = build.read_example
    crash = WorkerCrash("its worker process ended with status -11")
    monkeypatch.setattr(
        build, "read_example", lambda root, clip, *rest: crash if clip.clip_id == "train_0" else read(root, clip, *rest)
    )
    prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.5)
    prepare("multimodal", tmp_path, folder)
    path = raw_dataset.video_path(folder, "train_0")
    os.utime(path, (0, 0))
    with pytest.raises(UserError, match=r"1 file changed \(clips/train_0.mp4\)"):
        prepare("multimodal", tmp_path, folder)


def test_a_file_that_must_not_be_read_is_not_read_to_compare_it(folder, tmp_path):
    path = raw_dataset.video_path(folder, "train_0")
    path.unlink()
    path.symlink_to("/dev/zero")
    prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.5)
    prepare("multimodal", tmp_path, folder)
    assert [source.name for source in read_sources(tmp_path / DATA)["train_0"]] == ["skeletons/train_0.json"]


def test_damaged_lists_and_data_of_an_earlier_version_are_named(copied):
    root, data_dir = copied
    (data_dir / DATA / "clips.csv").write_text("clip_id,split\na,train\n")
    with pytest.raises(UserError, match=r"out of date: its lists are damaged \(KeyError: 'muscles'\)"):
        prepare("multimodal", data_dir, root)
    (data_dir / DATA / "sources.csv").unlink()
    with pytest.raises(UserError, match="out of date: it was made by an earlier version of this project: build it"):
        prepare("multimodal", data_dir, root)
    shutil.move(data_dir / DATA, data_dir / DATA.parent / "3.0.0")
    with pytest.raises(UserError, match=r"no prepared data \(3.0.0 was made by an earlier version of this project\)"):
        prepare("multimodal", data_dir)
    assert prepare("multimodal", data_dir, root, num_workers=1).info.splits.total_num_examples == 10


def test_a_part_of_the_data_is_not_passed_off_as_the_whole(folder, tmp_path):
    def of_two(root, **limit):
        builder = Builder(config="skeleton", data_dir=tmp_path, num_workers=1)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=root, **limit))
        return builder

    builder = of_two(folder, max_examples_per_split=1)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == dict.fromkeys(
        ("train", "val_known", "val_new", "test_known", "test_new"), 1
    )
    of_two(folder, max_examples_per_split=1)
    with pytest.raises(UserError, match="it was made with max_examples_per_split=1, expected None"):
        of_two(folder)
    (stored,) = read_stored_clips(Path(builder.data_path))["train"]
    left_out = {"train_0", "train_1"} - {stored.clip.clip_id}
    raw_dataset.skeleton_path(folder, left_out.pop()).unlink()
    of_two(folder, max_examples_per_split=1)  # not one of its clips
    with pytest.raises(UserError, match="max_examples_per_split: expected at least 1, got 0"):
        of_two(folder, max_examples_per_split=0)
    with pytest.raises(UserError, match="num_shards: this builder chooses the shards itself: leave the option out"):
        of_two(folder, num_shards=3)


def test_rendered_data_has_no_sources_and_is_compared_by_its_settings(smoke_data, tmp_path):
    folder = Path("musclemap", "synthetic_smoke", str(Builder.VERSION))
    assert read_sources(smoke_data / folder) == {}
    shutil.copytree(smoke_data / folder, tmp_path / folder)
    prepare("synthetic_smoke", tmp_path)
    metadata = tmp_path / folder / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"size": 64', '"size": 96'))
    with pytest.raises(UserError, match=r"out of date: it was made with synthetic\.size=96, expected 64: build"):
        prepare("synthetic_smoke", tmp_path)
