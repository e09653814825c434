"""Verification of prepared data: sound data passes, and every kind of fault is reported, with the exit status."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musclemap_jax import taxonomy
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import Manifest, write_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerCrash
from tfds_musclemap.build.build_log import StoredClip
from tfds_musclemap.importing.release_clips import MUSCLEMAP
from tfds_musclemap.prepare import load_source, prepare
from tfds_musclemap.verify.__main__ import main
from tfds_musclemap.verify.checks import find_faults, find_notes
from tfds_musclemap.verify.clips import IMAGE_FIELDS, ClipFacts, examine_record, examine_split
from tfds_musclemap.verify.prepared import Prepared, find_data_sets
from tfds_musclemap.verify.report import verify
from tfds_musclemap.verify.skeleton_evidence import skeleton_facts


def skeleton(*spans, num_frames=60):
    """(T, P, V, 3) of one person for each span of frames, who stand in the middle of 64x64 pixels."""
    joints = np.zeros((num_frames, max(1, len(spans)), 17, 3), np.float32)
    for person, (first, last) in enumerate(spans or [(0, num_frames - 1)]):
        joints[first : last + 1, person] = np.linspace([20, 10, 0.9], [40, 60, 0.9], 17)
    return joints


def facts_of(joints):
    return skeleton_facts(joints, "coco17", 30.0, (64, 64))


SOUND = ClipFacts(
    clip_id="a",
    split="train",
    activity="squat",
    muscles=(13, 17),
    num_frames=6,
    fps=12.0,
    size=(32, 48),
    num_bytes=100,
    content_hash="a",
    skeleton=facts_of(skeleton()),
    faults=(),
)


def clip(clip_id, **changes):
    return dataclasses.replace(SOUND, clip_id=clip_id, **({"content_hash": clip_id} | changes))


def data_set(*clips, **changes):
    """A data set of these clips, with lists that agree with them."""
    sizes, listed = {}, {}
    for each in clips:
        sizes[each.split] = sizes.get(each.split, 0) + 1
        row = raw_dataset.Clip(each.clip_id, each.split, each.activity, each.muscles)
        listed.setdefault(each.split, []).append(StoredClip(row, each.num_frames, each.fps, each.size))
    return dataclasses.replace(Prepared(clips, sizes, listed, [], {"num_clips": len(clips)}), **changes)


SQUATS = (clip("a"), clip("b"), clip("c", split="val_known"))


@pytest.mark.parametrize(
    ("prepared", "words"),
    [
        (data_set(*SQUATS), None),
        (data_set(*SQUATS, clip("d", split="test_new")), "activity 'squat' is in train, val_known, test_new"),
        (
            data_set(*SQUATS, clip("d", split="test_new", activity="Squat!")),
            "activity 'Squat!' or 'squat' is in train, val_known, test_new: a new activity must not be in other splits",
        ),
        (data_set(*SQUATS, clip("d", activity="Squat")), None),
        (data_set(metadata={"num_clips": 0}), "no clips: the data set is empty"),
        (
            data_set(*SQUATS, clip("d", muscles=(13,))),
            "activity 'squat' has 2 different sets of regions: 13;17 (3 clips)",
        ),
        (data_set(*SQUATS, clip("d", split="test_known", content_hash="b")), "different splits: train/b; test_known/d"),
        (data_set(*SQUATS, clip("d", faults=("fps nan",))), "train, d: fps nan"),
        (data_set(*SQUATS, clip("a", content_hash="other")), "repeated clip ids: a"),
        (
            data_set(*SQUATS, split_sizes={"train": 3, "val_known": 1}),
            "train: the data set states 3 clips, its files contain 2",
        ),
        (
            data_set(*SQUATS, metadata={"num_clips": 4}),
            "expected 4 clips as in the annotations, got 3: 3 stored and 0 rejected",
        ),
        (
            data_set(*SQUATS, listed=data_set(*SQUATS[1:]).listed),
            "train: clips.csv lists 1 clips, but there are 2 records",
        ),
        (
            data_set(*SQUATS, listed=data_set(*SQUATS[1::-1], SQUATS[2]).listed),
            "train: clips.csv disagrees with 2 records: a; b",
        ),
        (data_set(*SQUATS, metadata={"num_clips": 3, "release": "mine"}), None),
        (
            data_set(*SQUATS, metadata={"num_clips": 3, "release": MUSCLEMAP}),
            "expected 15,004 clips as in the paper, got 3",
        ),
    ],
)
def test_each_fault_is_reported(prepared, words):
    faults = find_faults(prepared)
    if words is None:
        assert faults == []
    else:
        assert any(words in fault for fault in faults), faults


def test_only_deviations_from_the_papers_totals_are_faults():
    activities = [f"activity {number}" for number in range(135)]
    clips = [clip(f"{n}", activity=activities[n % 135]) for n in range(300)]
    metadata = {"num_clips": 15_004, "release": MUSCLEMAP}
    rejected = [(f"r{n}", "train", "empty file") for n in range(15_004 - 300)]
    assert find_faults(data_set(*clips, metadata=metadata, rejected=rejected)) == []
    fewer = data_set(*clips[:134], metadata={"num_clips": 134, "release": MUSCLEMAP})
    assert [fault.partition(": ")[2] for fault in find_faults(fewer)] == [
        "expected 15,004 clips as in the paper, got 134",
        "expected 135 activities as in the paper, got 134",
    ]


def test_unusual_data_is_noted():
    prepared = data_set(
        *SQUATS,
        clip("d", content_hash="a"),
        clip("e", skeleton=facts_of(skeleton((1, 0)))),
        rejected=[("x", "train", "empty file")],
    )
    notes = find_notes(prepared)
    assert "val_new: no clips" in notes
    assert "1 clips were rejected by the build: x (empty file)" in notes
    assert "1 clips without a person in any frame: e" in notes
    assert "train: the same content twice: a; d" in notes
    spelled = data_set(*SQUATS, clip("d", activity="Squat"), clip("e", activity="row"))
    assert "activities that differ in case or punctuation alone: 'Squat'; 'squat'" in find_notes(spelled)


def test_an_empty_data_set_is_not_called_sound(prepared, tmp_path, capsys):
    folder = copy_of(prepared, tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    for split in info["splits"]:
        split["shardLengths"] = ["0"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for name in ("clips.csv", "rejected.csv"):
        (folder / name).write_text((folder / name).read_text().splitlines()[0] + "\n")
    assert main([f"--data_dir={tmp_path / 'data'}", "--num_workers=1"]) == 1
    output = capsys.readouterr().out
    assert "fault: no clips: the data set is empty" in output
    assert "nothing wrong" not in output


def people(*spans, number=4):
    clips = [clip(f"{n}", skeleton=facts_of(skeleton(*spans))) for n in range(number)]
    return data_set(*clips)


@pytest.mark.parametrize(
    ("prepared", "fault"),
    [
        (people((0, 59)), None),
        (people((0, 29), (20, 55)), None),
        (
            people((0, 29)),
            "skeletons: the skeletons end at 50 % of their videos (median of 4 clips): poses at another frame rate? "
            "--fps=15",
        ),
        (
            data_set(clip("a", skeleton=facts_of(skeleton() * np.float32([1 / 64, 1 / 64, 1])))),
            "train, a: coordinates from 0.156 to 0.938, expected pixels of the video: normalised by the image's size? "
            "--image_size=1x1",
        ),
        (
            data_set(clip("a", skeleton=facts_of(skeleton() * np.float32([4, 4, 1])))),
            "train, a: 100 % of the joints lie outside of the frame (x up to 160, y up to 240 in 64x64 pixels): "
            "poses of a larger original? --image_size=WIDTHxHEIGHT",
        ),
    ],
)
def test_skeletons_of_something_else_than_the_videos_are_faults(prepared, fault):
    assert find_faults(prepared)[:1] == ([] if fault is None else [fault])


def test_what_a_model_sees_of_the_skeletons_is_noted():
    notes = find_notes(people((0, 19), (0, 19), (20, 59), (30, 59)))
    assert (
        "4 clips where persons are seen for longer than the first 2, whom a model takes: "
        "0 (33 % of 100 %); 1 (33 % of 100 %); 2 (33 % of 100 %); 3 (33 % of 100 %)"
    ) in notes
    assert not any("first 2" in note for note in find_notes(people((0, 19), (20, 50), (30, 59))))


def test_clips_that_all_begin_at_frame_one_are_noted():
    (note,) = (note for note in find_notes(people((1, 59))) if "frame 0" in note)
    assert note == (
        "no clip has a person in frame 0, 4 of 4 begin at frame 1: numbered from 1? Import with --first_frame=1"
    )
    assert find_faults(people((1, 59))) == []


def test_fractions_of_frames_and_joints_by_hand():
    joints = skeleton((0, 9), (10, 29), (30, 49))
    joints[0, 0, :5] = 0
    facts = facts_of(joints)
    assert (facts.seen_fraction, facts.covered_fraction) == pytest.approx((50 / 60, 30 / 60))
    assert facts.absent_fraction == pytest.approx(5 / (50 * 17))


def test_facts_of_a_record_and_its_faults(prepared):
    record = dict(load_source(prepared[1], "train")[0])
    sound = examine_record(record, "train", 20, False)
    assert (sound.num_frames, sound.size, sound.fps, sound.faults) == (6, (32, 48), 12.0, ())
    assert sound.skeleton.seen_fraction == pytest.approx(5 / 6)  # frame 2 is empty
    outside = record["skeleton"].copy()
    outside[0, 0, 0, 2] = 2
    damaged = {
        "frames: 1 images cannot be decoded, the first is number 3": {
            "frames": [*record["frames"][:3], b"no image", *record["frames"][4:]]
        },
        "expected the same number of frames": {"frames": record["frames"][:4]},
        "muscles": {"muscles": np.zeros(20, np.uint8)},
        "fps": {"fps": 0.0},
        "expected scores from 0 to 1": {"skeleton": outside},
        "does not fit layout": {"skeleton": record["skeleton"][:, :, :5]},
        "not finite": {"skeleton": np.full_like(outside, np.nan)},
    }
    for words, change in damaged.items():
        (fault,) = examine_record(record | change, "train", 20, False).faults
        assert words in fault


@pytest.mark.parametrize("shape", [(0, 1, 17, 3), (6, 0, 17, 3), (6, 1, 17, 2), (6, 17, 3)])
def test_a_skeleton_of_any_shape_is_examined(prepared, shape):
    record = load_source(prepared[1], "train")[0]
    images = {name for name in record if name in IMAGE_FIELDS}
    alone = {name: value for name, value in record.items() if name not in images}
    facts = examine_record(alone | {"skeleton": np.zeros(shape, np.float32)}, "train", 20, False)
    assert bool(facts.faults) == (shape != (6, 0, 17, 3))


def test_a_crash_costs_the_chunk_and_moves_no_record(prepared):
    class Crashing:
        def map(self, function, calls):
            return [WorkerCrash("its worker process ended with status -9") for _ in calls]

    done = []
    facts = list(examine_split(Path(prepared[1].data_path), "train", Crashing(), done.append))
    assert [fact.clip_id for fact in facts] == [f"record {index}" for index in range(sum(done))]
    assert "status -9 (at one of the records 0 to " in facts[0].faults[0]


def copy_of(prepared, tmp_path) -> Path:
    source = Path(prepared[1].data_path)
    return Path(shutil.copytree(source, tmp_path / "data" / "musclemap" / "multimodal" / source.name))


def test_a_sound_data_set_passes_and_is_described(prepared, tmp_path, capsys):
    folder = copy_of(prepared, tmp_path)
    assert main([f"--data_dir={tmp_path / 'data'}", "--num_workers=2"]) == 0
    output = capsys.readouterr().out
    assert "10 clips of 4 activities (2 known, 2 new), 0 rejected" in output
    assert "| val_new    |     2 |          2 |" in output
    assert "nothing wrong" in output
    out = folder / "verification"
    report = json.loads((out / "dataset.json").read_text())
    assert report["faults"] == []
    assert set(report["splits"]) == set(taxonomy.SPLITS)
    train = report["splits"]["train"]
    assert train["frames"] == {"total": 12, "min": 6, "median": 6, "max": 6}
    assert train["resolutions"] == {"32x48": 2}
    assert train["frames_with_skeleton"] == train["frames_with_first_persons"] == pytest.approx(5 / 6)
    assert train["absent_joints"] == 0
    assert report["regions"]["chest"]["clips"]["train"] == 1
    for name in ("modalities.png", "regions.png"):
        pixels = np.asarray(Image.open(out / name).convert("RGB"))
        assert pixels.std() > 10


@pytest.mark.parametrize("modalities", [("flow", "rgb_diff"), ("skeleton",)])
def test_data_without_frames_is_verified_too(folder, tmp_path, modalities):
    builder = prepare("multimodal", tmp_path / "data", folder, num_workers=1, modalities=modalities)
    report = verify(builder.data_path)
    assert report["faults"] == []
    assert bool(report["splits"]["train"]["resolutions"]) == ("flow" in modalities)
    assert (Path(builder.data_path) / "verification" / "modalities.png").is_file()


def test_leaks_and_wrong_totals_of_a_real_build_end_the_command_with_status_1(folder, tmp_path, capsys):
    for path in (raw_dataset.video_path, raw_dataset.skeleton_path):
        shutil.copy(path(folder, "train_0"), path(folder, "test_new_1"))
    write_manifest(folder, Manifest(MUSCLEMAP))
    prepare("rgb", tmp_path / "data", folder, num_workers=1)
    assert main([f"--data_dir={tmp_path / 'data'}", f"--out={tmp_path / 'out'}", "--num_workers=1"]) == 1
    output = capsys.readouterr().out
    assert "fault: the same content in different splits: train/train_0; test_new/test_new_1" in output
    assert "fault: release MuscleMap: expected 15,004 clips as in the paper, got 10" in output
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["faults"]) == 3


def test_a_damaged_record_is_reported(prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    (records,) = folder.glob("*train*array_record*")
    data = bytearray(records.read_bytes())
    middle = data.index(b"\xff\xd8\xff")  # inside the first record
    data[middle : middle + 2000] = bytes(2000)
    records.write_bytes(bytes(data))
    report = verify(folder, num_workers=2)
    assert any("train" in fault for fault in report["faults"])


def test_missing_data_is_a_user_error(tmp_path, capsys):
    assert main([f"--data_dir={tmp_path}"]) == 2
    assert "run tfds_musclemap.prepare" in capsys.readouterr().err
    with pytest.raises(UserError, match="musclemap/rgb"):
        find_data_sets(tmp_path, "rgb")


@pytest.mark.parametrize("number", [0, -3])
def test_fewer_than_one_worker_is_a_user_error(prepared, tmp_path, capsys, number):
    assert main([f"--data_dir={prepared[1].data_path}", f"--out={tmp_path}", f"--num_workers={number}"]) == 2
    assert f"--num_workers: expected at least 1, got {number}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content"),
    [("dataset_info.json", "{"), ("dataset_info.json", "{}"), ("features.json", "{}"), ("metadata.json", "{")],
)
def test_a_damaged_description_is_a_user_error(prepared, tmp_path, capsys, file, content):
    folder = copy_of(prepared, tmp_path)
    (folder / file).write_text(content)
    assert main([f"--data_dir={tmp_path / 'data'}", "--num_workers=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}: expected dataset_info.json, features.json and metadata.json")
    assert line.endswith("delete this folder and prepare the data again")


def test_records_that_are_not_listed_are_a_fault_and_not_drawn(prepared, tmp_path, capsys):
    folder = copy_of(prepared, tmp_path)
    (folder / "clips.csv").write_text("")
    assert main([f"--data_dir={tmp_path / 'data'}", "--num_workers=1"]) == 1
    assert "fault: train: clips.csv lists 0 clips, but there are 2 records" in capsys.readouterr().out
    assert (folder / "verification" / "regions.png").is_file()
    assert not (folder / "verification" / "modalities.png").exists()


def test_a_file_in_place_of_the_reports_folder_is_a_user_error(prepared, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main([f"--data_dir={prepared[1].data_path}", f"--out={tmp_path / 'file'}", "--num_workers=1"]) == 2
    assert f"{tmp_path / 'file'}: expected a folder for the report: File exists" in capsys.readouterr().err
