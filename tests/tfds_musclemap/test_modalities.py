"""What each builder config stores, and that what is stored twice is equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from musclemap_jax.data.images import decode_grey_jpeg, decode_jpeg, decode_png
from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw import flow, video
from musclemap_jax.models.video.video_input import STD, rgb_difference
from tfds_musclemap.build.builder_config import CONFIGS
from tfds_musclemap.build.clip_reader import read_clip
from tfds_musclemap.prepare import load_source, prepare

CLIP = "train_1"  # number 1

IMAGES = {
    "rgb": {"frames": 3},
    "rgb_diff": {"rgb_diff": 3},
    "optical_flow": {"flow_x": 1, "flow_y": 1},
    "rgb_flow": {"frames": 3, "flow_x": 1, "flow_y": 1},
    "skeleton": {},
    "multimodal": {"frames": 3},
    "multimodal_flow": {"frames": 3, "flow_x": 1, "flow_y": 1},
}


@pytest.fixture(scope="module")
def all_configs(prepared, tmp_path_factory):
    """Config -> builder, prepared of one raw data set."""
    root, multimodal = prepared
    data_dir = tmp_path_factory.mktemp("configs")
    builders = {name: prepare(name, data_dir, root, num_workers=1) for name in IMAGES if name != "multimodal"}
    return builders | {"multimodal": multimodal}


def test_there_is_a_config_for_every_modality():
    rendered = {"synthetic", "synthetic_large", "synthetic_flow", "synthetic_smoke"}
    assert set(IMAGES) | rendered == {config.name for config in CONFIGS}


@pytest.mark.parametrize("config", IMAGES)
def test_tfds_reads_what_the_config_stores_and_nothing_else(all_configs, config):
    builder = all_configs[config]
    decoded = tfds.builder_from_directory(builder.data_path).as_data_source("train")
    source = load_source(builder, "train")
    assert len(decoded) == len(source) == 2
    names = {"clip_id", "activity", "muscles", "fps"} | set(IMAGES[config])
    names |= {"skeleton", "skeleton_layout"} if config in ("skeleton", "multimodal", "multimodal_flow") else set()
    names |= {"flow_scale"} if "flow_x" in IMAGES[config] else set()
    for theirs, ours in zip(decoded, source, strict=True):
        assert set(theirs) == set(ours) == names
        for name, channels in IMAGES[config].items():
            assert np.stack(list(theirs[name])).shape == (6, 32, 48, channels)
            assert len(ours[name]) == 6
        for name in names & {"skeleton", "flow_scale", "muscles"}:
            np.testing.assert_array_equal(theirs[name], ours[name])


def test_stored_differences_are_exactly_those_of_the_stored_frames(all_configs):
    pairs = zip(load_source(all_configs["rgb"], "train"), load_source(all_configs["rgb_diff"], "train"), strict=True)
    for rgb, rgb_diff in pairs:
        frames = np.stack([decode_jpeg(data) for data in rgb["frames"]])
        stored = np.stack([decode_png(data) for data in rgb_diff["rgb_diff"]])
        assert not stored[0].any()
        assert stored[1:].max() > 20
        np.testing.assert_array_equal(stored[1:], np.abs(frames[1:].astype(np.int16) - frames[:-1]))
        on_the_fly = np.asarray(rgb_difference(frames)) * (255 * STD)
        np.testing.assert_allclose(on_the_fly, stored, atol=1e-3)


def test_tfds_decodes_the_same_differences(all_configs):
    builder = all_configs["rgb_diff"]
    theirs = tfds.builder_from_directory(builder.data_path).as_data_source("train")[0]["rgb_diff"]
    ours = [decode_png(data) for data in load_source(builder, "train")[0]["rgb_diff"]]
    np.testing.assert_array_equal(np.stack(list(theirs)), np.stack(ours))


def test_modalities_alone_are_those_of_multimodal(all_configs):
    multimodal = load_source(all_configs["multimodal"], "test_new")
    for name, feature in (("rgb", "frames"), ("skeleton", "skeleton")):
        for alone, together in zip(load_source(all_configs[name], "test_new"), multimodal, strict=True):
            assert alone["clip_id"] == together["clip_id"]
            assert np.array_equal(alone[feature], together[feature])


def test_any_number_of_workers_gives_the_same_bytes_of_every_modality(folder, tmp_path):
    folders = [
        Path(prepare("multimodal", tmp_path / str(n), folder, num_workers=n, modalities=MODALITIES).data_path)
        for n in (1, 2)
    ]
    names = sorted(path.name for path in folders[0].iterdir())
    assert sum("array_record" in name for name in names) == 5
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def moving_clip(speed, num_frames=6, height=32, width=48):
    """(T, H, W, 3): a pattern that moves to the right by `speed` pixels per frame."""
    columns = np.arange(width)[None, None] - speed * np.arange(num_frames)[:, None, None]
    rows = np.arange(height)[None, :, None]
    grey = 128 + 60 * np.sin(columns / 4) + 50 * np.sin(rows / 5 + columns / 9)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def read_flow(content):
    """(T, H, W, 2) pixels per frame."""
    features = content.fields
    values = [np.stack([decode_grey_jpeg(data) for data in features[name]]) for name in ("flow_x", "flow_y")]
    return flow.decode_flow(np.stack(values, axis=-1), features["flow_scale"])


def test_estimated_flow_is_the_motion_in_pixels_of_the_stored_frames(folder):
    video.encode_video(folder / "clips" / f"{CLIP}.mp4", moving_clip(1.5), 12, crf=4)
    motion = read_flow(read_clip(str(folder), CLIP, ClipSettings(modalities=("flow",))))
    assert motion.shape == (6, 32, 48, 2)
    assert not motion[0].any()
    np.testing.assert_allclose(np.median(motion[1:], axis=(1, 2)), [[1.5, 0]] * 5, atol=0.2)
    half = read_flow(read_clip(str(folder), CLIP, ClipSettings(modalities=("flow",), short_side=16)))
    assert half.shape == (6, 16, 24, 2)
    np.testing.assert_allclose(np.median(half[1:], axis=(1, 2)), [[0.75, 0]] * 5, atol=0.2)


def write_flow(folder, num_frames, size=(32, 48), axes="xy"):
    """Flow files of a motion of 40 steps to the right and 24 upwards."""
    (folder / "flow").mkdir(exist_ok=True)
    for axis, value in (("x", 168), ("y", 104)):
        if axis in axes:
            images = np.full((num_frames, *size, 3), value, np.uint8)
            video.encode_video(folder / "flow" / f"{CLIP}_{axis}.mp4", images, 12, crf=4)


@pytest.mark.parametrize("num_frames", [6, 5])
def test_flow_of_the_raw_data_set_is_taken_as_it_is(folder, num_frames):
    write_flow(folder, num_frames)
    content = read_clip(str(folder), CLIP, ClipSettings(modalities=("flow",), flow_bound=25.5))
    np.testing.assert_allclose(content.fields["flow_scale"], 0.2)
    motion = read_flow(content)
    assert len(motion) == 6
    # With one frame less than the clip, it begins with the motion from the first frame to the second.
    assert np.abs(motion[0]).max() < (0.1 if num_frames == 5 else 9)
    np.testing.assert_allclose(motion[1:].mean(axis=(1, 2)), [[8, -4.8]] * 5, atol=0.1)


def test_flow_of_another_size_is_scaled_to_the_frames_in_place_and_length(folder):
    write_flow(folder, 6, size=(64, 64))
    content = read_clip(str(folder), CLIP, ClipSettings(modalities=("flow",), flow_bound=25.5))
    np.testing.assert_allclose(content.fields["flow_scale"], [0.2 * 48 / 64, 0.2 * 32 / 64])
    assert read_flow(content).shape == (6, 32, 48, 2)


@pytest.mark.parametrize(
    ("num_frames", "axes", "words"),
    [
        (4, "xy", "flow/train_1_x.mp4: expected 6 frames as the clip has, or one less, got 4"),
        (6, "x", "flow/train_1_y.mp4: no such file"),
        (0, "xy", "flow/train_1_x.mp4: empty file"),
    ],
)
def test_invalid_flow_files_reject_the_clip_with_their_name(folder, num_frames, axes, words):
    write_flow(folder, num_frames or 6, axes=axes)
    if not num_frames:
        (folder / "flow" / f"{CLIP}_x.mp4").write_bytes(b"")
    content = read_clip(str(folder), CLIP, ClipSettings(modalities=("flow",)))
    assert isinstance(content, ClipError)
    assert str(content).startswith(words)
