"""One clip: its frames, its joints in the frames' pixels, and every reason to reject it."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest

from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.modalities import IMAGE_FIELDS
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings, Frame
from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.raw.flow import BOUND_PX, NO_MOTION, decode_flow, flow_paths, step_px
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from tests.data.raw.clips import number_of, write_clip
from tfds_musclemap.build import clip_reader
from tfds_musclemap.build.clip_reader import read_clip
from tfds_musclemap.build.example import read_example

CLIP = "train_1"  # number 1


def test_frames_and_joints_are_those_of_the_files(folder, example):
    clip_frames, clip_skeleton = example
    content = read_clip(str(folder), CLIP, ClipSettings(jpeg_quality=95))
    frames = np.stack([decode_jpeg(data) for data in content.fields["frames"]]).astype(np.int32)
    assert frames.shape == clip_frames(1).shape
    assert np.abs(frames - clip_frames(1)).mean() < 6
    np.testing.assert_allclose(content.fields["skeleton"], clip_skeleton(1), atol=1e-3)
    assert content.fields["skeleton"].dtype == np.float32
    assert content.fps == 12.0


def test_joints_are_scaled_with_the_frames_and_scores_are_kept(folder, example):
    content = read_clip(str(folder), CLIP, ClipSettings(short_side=8))
    assert decode_jpeg(content.fields["frames"][0]).shape == (8, 12, 3)
    expected = example[1](1) * [0.25, 0.25, 1.0]
    np.testing.assert_allclose(content.fields["skeleton"], expected, atol=1e-3)


def test_the_most_prominent_persons_are_kept(folder, example):
    content = read_clip(str(folder), CLIP, ClipSettings(max_persons=1))
    np.testing.assert_allclose(content.fields["skeleton"], example[1](1)[:, :1], atol=1e-3)


def test_reading_twice_gives_equal_bytes(folder):
    first, second = (read_clip(str(folder), CLIP, ClipSettings()) for _ in range(2))
    assert first.fields["frames"] == second.fields["frames"]
    assert first.fields["skeleton"].tobytes() == second.fields["skeleton"].tobytes()


def test_a_clip_without_skeleton_gets_an_absent_person_where_none_is_required(folder):
    raw_dataset.skeleton_path(folder, CLIP).unlink()
    content = read_clip(str(folder), CLIP, ClipSettings(require_skeleton=False))
    assert content.fields["skeleton"].shape == (6, 1, 17, 3)
    assert not content.fields["skeleton"].any()


# 12 frames: half a second at 10 fps, then at 30. A frame of the mean rate, 11 / 0.683 s = 16.1 fps, lasts 62 ms.
VARIABLE_TIMES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.533, 0.567, 0.6, 0.633, 0.667, 0.683)
SHOWN = (0, 0, 1, 2, 2, 3, 4, 4, 5, 7, 9, 11)
"""The last of these frames before the middle of each of the 12 intervals, at 31 ms, 93 ms, 155 ms, ..."""


@pytest.fixture
def variable_clip(folder):
    """The clip with a variable frame rate; in frame k, the joints are at (k, 2 k), and the flow to the right k / 2."""
    video_path = raw_dataset.video_path(folder, CLIP)
    write_clip(video_path, range(12), times_s=VARIABLE_TIMES)
    skeleton = np.ones((12, 1, 17, 3))
    skeleton[..., :2] *= np.arange(12)[:, None, None, None] * [1, 2]
    write_alphapose(raw_dataset.skeleton_path(folder, CLIP), skeleton)
    for path, step in zip(flow_paths(folder, CLIP), (0.5, 0), strict=True):
        path.parent.mkdir(exist_ok=True)
        values = NO_MOTION + np.rint(step * np.arange(12) / step_px(BOUND_PX))
        frames = np.broadcast_to(values[:, None, None, None], (12, 48, 64, 3)).astype(np.uint8)
        video.encode_video(path, frames, 30, crf=1)
    return folder


def test_a_variable_frame_rate_is_resampled_by_time_with_all_that_belongs_to_the_frames(variable_clip):
    content = read_clip(str(variable_clip), CLIP, ClipSettings(("video", "skeleton", "flow")))
    assert content.fps == pytest.approx(11 / 0.683)
    assert content.num_frames == 12
    assert tuple(number_of(decode_jpeg(jpeg)) for jpeg in content.fields["frames"]) == SHOWN
    np.testing.assert_allclose(content.fields["skeleton"][:, 0, 0, 0], SHOWN)
    np.testing.assert_allclose(content.fields["skeleton"][:, 0, 0, 1], 2 * np.array(SHOWN))
    # Motion since the frame shown before: none where one is repeated, the sum of those left out.
    motion = [sum(range(before + 1, shown + 1)) / 2 for before, shown in itertools.pairwise((0, *SHOWN))]
    images = np.stack([decode_jpeg(jpeg)[24, 32, 0] for jpeg in content.fields["flow_x"]])
    np.testing.assert_allclose(decode_flow(images, content.fields["flow_scale"][:1]), motion, atol=0.3)


def test_poses_of_constant_rate_images_of_a_variable_frame_rate_are_named(variable_clip):
    write_alphapose(raw_dataset.skeleton_path(variable_clip, CLIP), np.ones((20, 1, 17, 3)))  # 30 fps
    error = read_clip(str(variable_clip), CLIP, ClipSettings())
    assert str(error) == (
        "skeletons/train_1.json: expected frames 0 to 11 of the video, got frame 19: is it the file of another video, "
        "or of another frame rate? or made on images at a constant rate? this video's rate is variable: estimate the "
        "poses on its own frames, or convert it to a constant rate first (ffmpeg -i IN -fps_mode cfr OUT)"
    )


def cut_video(folder):
    path = raw_dataset.video_path(folder, CLIP)
    path.write_bytes(path.read_bytes()[:-600])


def cut_web_video(folder):
    path = raw_dataset.video_path(folder, CLIP)
    noise = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    video.encode_video(path, noise, 12, faststart=True)  # its index comes first: it opens, and the first frames decode
    path.write_bytes(path.read_bytes()[:-5000])


def empty_video(folder):
    raw_dataset.video_path(folder, CLIP).write_bytes(b"")


def absent_video(folder):
    raw_dataset.video_path(folder, CLIP).unlink()


def text_for_video(folder):
    raw_dataset.video_path(folder, CLIP).write_text("not a video " * 50)


def tiny_video(folder):
    video.encode_video(raw_dataset.video_path(folder, CLIP), np.zeros((6, 2, 2, 3), np.uint8), 12)


def absent_skeleton(folder):
    raw_dataset.skeleton_path(folder, CLIP).unlink()


def nobody(folder):
    raw_dataset.skeleton_path(folder, CLIP).write_text("[]")


def eighteen_joints(folder):
    rng = np.random.default_rng(0)
    write_alphapose(raw_dataset.skeleton_path(folder, CLIP), rng.uniform(1, 9, (6, 1, 18, 3)))


def no_json(folder):
    raw_dataset.skeleton_path(folder, CLIP).write_text("[{")


def infinite(folder):
    path = raw_dataset.skeleton_path(folder, CLIP)
    entries = json.loads(path.read_text())
    entries[0]["keypoints"][0] = float("inf")
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("damage", "file", "words"),
    [
        (cut_video, "clips/train_1.mp4", "truncated"),
        (cut_web_video, "clips/train_1.mp4", "truncated"),
        (empty_video, "clips/train_1.mp4", "empty file"),
        (absent_video, "clips/train_1.mp4", "no such file"),
        (text_for_video, "clips/train_1.mp4", "cannot be decoded"),
        (tiny_video, "clips/train_1.mp4", "expected frames of at least 16x16 pixels, got 2x2"),
        (absent_skeleton, "skeletons/train_1.json", "requires skeletons"),
        (nobody, "skeletons/train_1.json", "no person"),
        (eighteen_joints, "skeletons/train_1.json", "coco17 has 17 joints, got 18"),
        (no_json, "skeletons/train_1.json", "JSON"),
        (infinite, "skeletons/train_1.json", ""),
    ],
)
def test_an_invalid_clip_is_rejected_with_its_reason(folder, damage, file, words):
    damage(folder)
    content = read_clip(str(folder), CLIP, ClipSettings())
    assert isinstance(content, ClipError)
    assert file in str(content)
    assert words in str(content)
    assert "\n" not in str(content)


def test_a_wrong_skeleton_rejects_the_clip_even_where_none_is_required(folder):
    eighteen_joints(folder)
    assert isinstance(read_clip(str(folder), CLIP, ClipSettings(require_skeleton=False)), ClipError)


@pytest.mark.parametrize("suffix", [".MP4", ".mov"])
def test_a_video_with_another_suffix_is_read(folder, suffix):
    expected = read_clip(str(folder), CLIP, ClipSettings())
    path = raw_dataset.video_path(folder, CLIP)
    path.rename(path.with_suffix(suffix))
    assert read_clip(str(folder), CLIP, ClipSettings()).fields["frames"] == expected.fields["frames"]


def test_two_videos_of_one_name_reject_the_clip(folder):
    path = raw_dataset.video_path(folder, CLIP)
    shutil.copy(path, path.with_suffix(".mov"))
    path.rename(path.with_suffix(".MKV"))
    error = read_clip(str(folder), CLIP, ClipSettings())
    assert str(error) == "clips/train_1.mp4: no such file, but train_1.MKV and train_1.mov: keep one of them"


@pytest.mark.parametrize("modalities", [("video",), ("rgb_diff",), ("flow",)])
def test_a_clip_that_a_record_cannot_hold_is_rejected_before_all_of_it_is_read(folder, monkeypatch, modalities):
    settings = ClipSettings(modalities=modalities)
    content = read_clip(str(folder), CLIP, settings)
    images = [image for name in IMAGE_FIELDS for image in content.fields.get(name, ())]
    size = sum(map(len, images))
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", size)
    assert not isinstance(read_clip(str(folder), CLIP, settings), ClipError)
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", size - 1)
    error = read_clip(str(folder), CLIP, settings)
    assert str(error) == (
        f"clips/train_1.mp4: more than the {size - 1:,} bytes that a record can hold: cut the clip into several, or "
        "lower short_side or jpeg_quality"
    )
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", 1)
    made = []
    monkeypatch.setattr(clip_reader, "Frame", lambda *arguments: made.append(Frame(*arguments)) or made[-1])
    assert "more than the 1 bytes" in str(read_clip(str(folder), CLIP, settings))
    assert len(made) == 1


def test_the_size_of_a_record_counts_the_joints_too(folder, monkeypatch):
    clip = next(clip for clip in raw_dataset.read_annotations(folder) if clip.clip_id == CLIP)
    settings = ClipSettings(modalities=("skeleton",))
    joints = read_clip(str(folder), CLIP, settings).fields["skeleton"].nbytes
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", joints)
    assert read_example(str(folder), clip, 20, settings).result.stored.num_frames == 6
    monkeypatch.setattr(clip_reader, "MAX_RECORD_BYTES", joints - 1)
    assert str(read_example(str(folder), clip, 20, settings).result).startswith("train_1: more than the ")
