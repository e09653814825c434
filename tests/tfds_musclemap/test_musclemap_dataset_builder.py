"""The builder without TensorFlow: what is prepared, what is left out, and what is left behind when it fails."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from musclemap_jax import taxonomy
from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.errors import UserError
from tfds_musclemap.build import build, clip_reader, shards
from tfds_musclemap.build.builder_config import CONFIGS, MuscleMapConfig
from tfds_musclemap.build.clip_reader import read_clip
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.prepare import load_source, prepare


def version_folder(data_dir, config="multimodal"):
    return data_dir / "musclemap" / config / "4.0.0"


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def folders_of(data_dir, config="multimodal"):
    """What lies where the versions of a config lie; a lock file aside."""
    return sorted(path.name for path in version_folder(data_dir, config).parent.iterdir() if path.is_dir())


def test_prepared_values_are_those_of_the_raw_data_set(prepared, example):
    root, builder = prepared
    clip_frames, clip_skeleton = example
    clips = raw_dataset.read_annotations(root)
    assert list(builder.info.splits) == list(taxonomy.SPLITS)
    found = {}
    for split in taxonomy.SPLITS:
        for record in load_source(builder, split):
            found[record["clip_id"]] = (split, record)
    assert set(found) == {clip.clip_id for clip in clips}
    for number, clip in enumerate(clips):
        split, record = found[clip.clip_id]
        assert split == clip.split
        assert record["activity"] == clip.activity
        assert record["muscles"].dtype == np.uint8
        assert tuple(np.flatnonzero(record["muscles"])) == clip.muscles
        assert set(record["muscles"].tolist()) == {0, 1}
        assert record["fps"] == 12.0
        assert record["skeleton_layout"] == "coco17"
        np.testing.assert_allclose(record["skeleton"], clip_skeleton(number), atol=1e-3)
        frames = np.stack([decode_jpeg(data) for data in record["frames"]])
        assert np.abs(frames.astype(np.int32) - clip_frames(number)).mean() < 6


def test_tfds_reads_the_same(prepared):
    _, builder = prepared
    decoded = tfds.builder_from_directory(builder.data_path).as_data_source("val_new")
    source = load_source(builder, "val_new")
    assert len(decoded) == len(source) == 2
    for theirs, ours in zip(decoded, source, strict=True):
        assert theirs["clip_id"].decode() == ours["clip_id"]
        assert theirs["activity"].decode() == ours["activity"]
        np.testing.assert_array_equal(theirs["muscles"], ours["muscles"])
        np.testing.assert_array_equal(theirs["skeleton"], ours["skeleton"])
        assert len(theirs["frames"]) == len(ours["frames"])
        difference = theirs["frames"][3].astype(np.int32) - decode_jpeg(ours["frames"][3])
        assert np.abs(difference).max() <= 4  # two JPEG decoders


def test_any_number_of_workers_gives_the_same_bytes(prepared, tmp_path):
    root, builder = prepared
    other = prepare("multimodal", tmp_path, root, num_workers=2)
    first, second = Path(builder.data_path), Path(other.data_path)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert sum("array_record" in name for name in names) == 5
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_lists_lie_next_to_the_data_even_if_nothing_was_rejected(prepared):
    root, builder = prepared
    folder = Path(builder.data_path)
    assert read_csv(folder / "rejected.csv") == [["clip_id", "split", "reason"]]
    rows = read_csv(folder / "clips.csv")
    assert rows[0] == ["clip_id", "split", "activity", "muscles", "num_frames", "fps", "height", "width"]
    assert sorted(row[0] for row in rows[1:]) == sorted(clip.clip_id for clip in raw_dataset.read_annotations(root))


def test_an_invalid_clip_is_left_out_listed_and_counted_in_the_last_line(folder, tmp_path, capsys):
    raw_dataset.video_path(folder, "train_0").write_bytes(b"")
    raw_dataset.skeleton_path(folder, "test_new_1").unlink()
    builder = prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.2)
    assert [record["clip_id"] for record in load_source(builder, "train")] == ["train_1"]
    assert [record["clip_id"] for record in load_source(builder, "test_new")] == ["test_new_0"]
    rows = read_csv(version_folder(tmp_path) / "rejected.csv")
    assert [row[:2] for row in rows] == [["clip_id", "split"], ["train_0", "train"], ["test_new_1", "test_new"]]
    assert "empty file" in rows[1][2]
    assert "skeletons/test_new_1.json" in rows[2][2]
    last_line = capsys.readouterr().out.strip().splitlines()[-1]
    assert "train 1, val_known 2, val_new 2, test_known 2, test_new 1 clips; rejected 2 of 10" in last_line
    assert str(version_folder(tmp_path) / "rejected.csv") in last_line


@pytest.mark.parametrize("num_workers", [1, 2])
def test_too_many_rejected_clips_end_the_build_and_leave_nothing(folder, tmp_path, num_workers):
    for clip_id in ("train_0", "val_new_1"):
        raw_dataset.video_path(folder, clip_id).write_bytes(b"")
    with pytest.raises(UserError, match=r"rejected 2 of 10 clips, more than max_rejected_fraction=0.1 .*empty file"):
        prepare("multimodal", tmp_path, folder, num_workers=num_workers, max_rejected_fraction=0.1)
    assert folders_of(tmp_path) == []


def test_a_build_without_any_clip_is_an_error_whatever_may_be_rejected(folder, tmp_path):
    for clip in raw_dataset.read_annotations(folder):
        raw_dataset.video_path(folder, clip.clip_id).write_bytes(b"")
    with pytest.raises(UserError, match=r"^rejected all 10 clips \(clips/\w+.mp4: empty file.*; ...\): fix or remove"):
        prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=1)
    assert folders_of(tmp_path) == []


def test_a_clip_that_a_record_cannot_hold_does_not_end_the_build(folder, tmp_path, monkeypatch):
    sizes = {
        clip.clip_id: sum(map(len, read_clip(folder, clip.clip_id, ClipSettings()).fields["frames"]))
        for clip in raw_dataset.read_annotations(folder)
    }
    *_, second, largest = sorted(sizes, key=sizes.get)
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", sizes[largest] - 1)
    prepare("rgb", tmp_path, folder, num_workers=1, max_rejected_fraction=0.5)
    rejected = {row[0]: row[2] for row in read_csv(version_folder(tmp_path, "rgb") / "rejected.csv")[1:]}
    assert largest in rejected
    assert second not in rejected
    assert "bytes that a record can hold" in rejected[largest]


def test_the_default_share_is_five_per_cent(folder, tmp_path):
    assert all(config.max_rejected_fraction == 0.05 for config in Builder.BUILDER_CONFIGS)
    raw_dataset.video_path(folder, "train_0").write_bytes(b"")
    with pytest.raises(UserError, match="rejected 1 of 10"):
        prepare("multimodal", tmp_path, folder, num_workers=1)


def test_the_error_of_a_split_without_clips_names_it(folder, tmp_path):
    for clip_id in ("val_new_0", "val_new_1"):
        raw_dataset.video_path(folder, clip_id).write_bytes(b"")
    builder = prepare("multimodal", tmp_path, folder, num_workers=1, max_rejected_fraction=0.3)
    assert "val_new 0" in builder.summary()
    with pytest.raises(UserError, match="expected clips in split val_new"):
        load_source(builder, "val_new")


def test_several_shards_also_one_without_clips(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 4000)
    plain = prepare("multimodal", tmp_path / "plain", folder, num_workers=1)
    assert plain.info.splits["train"].num_shards == 2
    first = load_source(plain, "train")[0]["clip_id"]
    raw_dataset.video_path(folder, first).write_bytes(b"")
    gap = prepare("multimodal", tmp_path / "gap", folder, num_workers=1, max_rejected_fraction=0.5)
    assert [record["clip_id"] for record in load_source(gap, "train")] == sorted({"train_0", "train_1"} - {first})


def test_an_interrupted_build_leaves_nothing_and_starts_again(folder, tmp_path, monkeypatch):
    read = build.read_example

    def interrupted(root, clip, *settings):
        if clip.clip_id == "test_known_0":
            raise KeyboardInterrupt
        return read(root, clip, *settings)

    monkeypatch.setattr(build, "read_example", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("multimodal", tmp_path, folder, num_workers=1)
    assert folders_of(tmp_path) == []
    monkeypatch.setattr(build, "read_example", read)
    assert prepare("multimodal", tmp_path, folder, num_workers=1).info.splits.total_num_examples == 10


def test_what_a_killed_build_left_is_removed_by_the_next_one(folder, tmp_path):
    program = (
        "import os, signal, sys; from tfds_musclemap import prepare; from tfds_musclemap.build import build\n"
        "read = build.read_example\n"
        "build.read_example = lambda root, clip, *settings: (\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if clip.clip_id == 'test_known_0' else read(root, clip, *settings))\n"
        "prepare.prepare('multimodal', sys.argv[1], sys.argv[2], num_workers=1)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(folders_of(tmp_path)) == 1
    assert not version_folder(tmp_path).exists()
    builder = prepare("multimodal", tmp_path, folder, num_workers=1)
    assert builder.info.splits.total_num_examples == 10
    assert folders_of(tmp_path) == ["4.0.0"]


def test_too_little_disk_is_found_before_anything_is_built(folder, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("tfds_musclemap.build.build_folder.shutil.disk_usage", lambda _: usage._replace(free=1000))
    for config in ("multimodal", "synthetic_smoke"):
        with pytest.raises(UserError, match="found 1,000"):
            prepare(config, tmp_path / "data", folder, num_workers=1)
    assert not (tmp_path / "data").exists()


def test_the_estimate_of_the_size_skips_what_cannot_be_read(folder):
    clips = raw_dataset.read_annotations(folder)
    raw_dataset.video_path(folder, clips[0].clip_id).write_bytes(b"")
    settings = ClipSettings()
    assert shards.estimate_clip_bytes(folder, clips, settings) == int(6 * 32 * 48 * 0.35)
    assert shards.estimate_clip_bytes(folder, clips[:1], settings) == 0


def test_the_estimate_refuses_more_data_than_the_disk_holds(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(MODALITIES["video"], "bytes_per_pixel", 1e12)
    with pytest.raises(UserError, match=r"expected about 92,160,000,000,000,000 free bytes"):
        prepare("multimodal", tmp_path, folder, num_workers=1)
    assert folders_of(tmp_path) == []


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), np.uint8)
    peaks = []
    for count in (2, 2, 12):  # the first one warms up
        root = tmp_path / f"raw_{len(peaks)}"
        (root / "clips").mkdir(parents=True)
        video.encode_video(root / "clips/0.mp4", noise, 12)
        for number in range(1, count):
            shutil.copy(root / "clips/0.mp4", root / f"clips/{number}.mp4")
        clips = [raw_dataset.Clip(str(number), "train", "squat", (13,)) for number in range(count)]
        raw_dataset.write_annotations(root, clips)
        tracemalloc.start()
        builder = prepare("rgb", tmp_path / f"data_{len(peaks)}", root, num_workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    clip_bytes = sum(map(len, load_source(builder, "train")[0]["frames"]))
    assert clip_bytes > 80_000
    assert peaks[2] - peaks[1] < 2 * clip_bytes  # of ten clips more


def test_the_tfds_command_finds_the_builder_by_its_folder():
    package = importlib.util.find_spec("tfds_musclemap").submodule_search_locations[0]
    program = (
        "import sys, tensorflow_datasets as tfds; sys.path.append(sys.argv[1])\n"
        "builder = tfds.core.community.builder_cls_from_module('musclemap.musclemap_dataset_builder')\n"
        "print(builder.name, *builder.builder_configs)"
    )
    command = [sys.executable, "-c", program, package]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.split() == ["musclemap", *(config.name for config in CONFIGS)]


def test_the_synthetic_raw_data_set_is_rendered_built_and_removed(tmp_path):
    builder = prepare("synthetic_smoke", tmp_path)
    assert set(builder.info.splits) == set(taxonomy.SPLITS)
    train = load_source(builder, "train")
    known = {record["activity"] for record in train}
    assert known.isdisjoint(record["activity"] for record in load_source(builder, "test_new"))
    record = train[0]
    assert decode_jpeg(record["frames"][0]).shape == (64, 64, 3)
    assert 16 <= len(record["frames"]) == len(record["skeleton"]) <= 24
    assert folders_of(tmp_path, "synthetic_smoke") == ["4.0.0"]
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("skeleton_layout", "coco18"), ("short_side", 2), ("jpeg_quality", 101), ("max_persons", 0)],
)
def test_a_config_that_makes_no_sense_is_refused(field, value):
    with pytest.raises(UserError, match=str(value)):
        MuscleMapConfig(name="mine", clip=ClipSettings(**{field: value}))


def test_description_citation_and_tags_are_read_from_the_package(prepared):
    _, builder = prepared
    assert "muscle regions" in builder.info.description
    assert "2303.00952" in builder.info.citation
    assert "content.data-type.video" in builder.get_metadata().tags


def test_the_dummy_data_is_a_whole_raw_data_set(tmp_path):
    package = importlib.util.find_spec("tfds_musclemap.musclemap").submodule_search_locations[0]
    builder = prepare("multimodal", tmp_path, Path(package) / "dummy_data", num_workers=1)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == dict.fromkeys(
        taxonomy.SPLITS, 1
    )
