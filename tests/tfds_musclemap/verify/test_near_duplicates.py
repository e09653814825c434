"""Clips that look alike: copies are found through the usual changes, other clips and black ones are not."""

from __future__ import annotations

import dataclasses
import shutil

import cv2
import numpy as np
import pytest

from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import encode_video, read_video
from tests.conftest import ROOT
from tfds_musclemap.build.clip_reader import ClipContent, read_clip
from tfds_musclemap.prepare import ClipSettings, load_source, prepare
from tfds_musclemap.verify import checks
from tfds_musclemap.verify.checks import find_notes
from tfds_musclemap.verify.clips import ClipFacts
from tfds_musclemap.verify.near_duplicates import near_duplicates
from tfds_musclemap.verify.prepared import Prepared
from tfds_musclemap.verify.report import verify
from tfds_musclemap.verify.signature import NUM_FRAMES, SIDE, signature, signature_frames


@pytest.fixture(scope="module")
def rendered(smoke_data):
    """{(split, clip id): frames} of 20 rendered clips, the frames that a signature is made of."""
    found = {}
    for split in ("train", "test_new"):
        for record in load_source(next(smoke_data.glob("musclemap/synthetic_smoke/*")), split):
            frames = [decode_jpeg(record["frames"][index]) for index in signature_frames(len(record["frames"]))]
            found[split, record["clip_id"]] = frames
    return found


def facts(split, clip_id, frames, content_hash=None):
    digest = content_hash or clip_id
    return ClipFacts(clip_id, split, "squat", (1,), 9, 12.0, (64, 64), 1, digest, None, (), signature(frames))


def named(groups):
    return [[f"{clip.split}/{clip.clip_id}" for clip in group] for group in groups]


def test_the_frames_are_spread_over_the_clip():
    assert signature_frames(100) == [10, 30, 50, 70, 90]
    assert signature_frames(1) == [0] * NUM_FRAMES


def test_each_bit_compares_a_place_with_its_right_neighbour():
    ramp = np.tile(np.arange(0, 17 * 15, 15, dtype=np.uint8), (16, 1))
    frame = np.repeat(ramp[..., None], 3, axis=-1)
    plain, mirrored = np.unpackbits(np.frombuffer(signature([frame]), np.uint8)).reshape(2, -1)
    assert len(plain) == SIDE * SIDE
    assert plain.all()
    assert not mirrored.any()
    reverse = np.unpackbits(np.frombuffer(signature([frame[:, ::-1]]), np.uint8)).reshape(2, -1)
    np.testing.assert_array_equal(reverse, [mirrored, plain])


def encoded_again(frame):
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


CHANGES = {
    "the same": lambda frame: frame,
    "encoded again": encoded_again,
    "of half the size": lambda frame: cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda frame: np.clip(frame * 1.2 + 10, 0, 255).astype(np.uint8),
    "mirrored": lambda frame: frame[:, ::-1],
    "mirrored and encoded again": lambda frame: encoded_again(frame[:, ::-1]),
    "without a margin": lambda frame: frame[1:-1, 1:-1],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_copy_in_another_split_is_found_and_nothing_else(rendered, change):
    clips = [facts(*names, frames) for names, frames in rendered.items()]
    original = next(clip_id for split, clip_id in rendered if split == "train")
    copy = facts("val_known", "copy", [change(frame) for frame in rendered["train", original]])
    assert named(near_duplicates([*clips, copy])) == [[f"train/{original}", "val_known/copy"]]
    assert near_duplicates([*clips, dataclasses.replace(copy, split="train")]) == []


def test_copies_of_copies_are_one_group_and_equal_content_is_left_to_the_faults(rendered):
    frames = next(iter(rendered.values()))
    alike = [facts(split, split, frames) for split in ("train", "val_known", "test_known")]
    assert named(near_duplicates(alike)) == [["train/train", "val_known/val_known", "test_known/test_known"]]
    assert near_duplicates([facts(clip.split, clip.clip_id, frames, "equal") for clip in alike]) == []


def test_black_clips_look_like_nothing(rendered):
    black = [np.zeros((64, 64, 3), np.uint8)] * NUM_FRAMES
    assert signature(black) is None
    assert near_duplicates([facts("train", "a", black), facts("test_new", "b", black)]) == []


def test_two_cameras_of_one_scene_do_not_look_alike(tmp_path):
    clips = []
    for split, view in (("train", "cam01"), ("test_new", "cam02")):
        path = raw_dataset.video_path(tmp_path, view)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / "data" / "real" / f"pose2sim_{view}.mp4", path)
        content = read_clip(tmp_path, view, ClipSettings(modalities=("video",)))
        assert isinstance(content, ClipContent)
        frames = [decode_jpeg(content.fields["frames"][index]) for index in signature_frames(content.num_frames)]
        clips.append(facts(split, view, frames))
    assert near_duplicates(clips) == []


def test_verification_notes_a_copy_in_another_split(folder, tmp_path):
    copy, original = (raw_dataset.video_path(folder, clip_id) for clip_id in ("test_known_1", "train_0"))
    copy.unlink()
    write_smaller(original, copy)
    report = verify(prepare("rgb", tmp_path, folder, num_workers=1).data_path)
    likeness = [note for note in report["notes"] if note.startswith("clips of different splits look alike: ")]
    groups = [set(note.partition(": ")[2].split("; ")) for note in likeness]
    assert any(group >= {"train/train_0", "test_known/test_known_1"} for group in groups)
    assert report["faults"] == []


def write_smaller(source, target):
    frames = np.stack([cv2.resize(frame, (36, 24)) for frame in read_video(source).frames])
    encode_video(target, frames, 12.0, crf=20)


def test_too_many_clips_are_not_compared(monkeypatch):
    monkeypatch.setattr(checks, "MAX_CLIPS", 1)
    clips = [facts("train", name, [np.zeros((9, 9, 3), np.uint8)]) for name in "ab"]
    notes = find_notes(Prepared(clips, {"train": 2}, {}, [], {}))
    assert "clips that look alike were not searched for: more than 1 clips" in notes
