"""Records of real prepared data (ArrayRecord) as rows of batches."""

import dataclasses
import itertools

import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.pipeline import eval_batches, train_iterator
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.flow import flow_paths
from musclemap_jax.data.raw.video import encode_video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from tests.no_augmentation import NO_AUGMENTATION
from tfds_musclemap.prepare import load_source, prepare

SPEC = InputSpec(num_frames=4, frame_stride=2, crop_size=16, num_poses=8, num_persons=2, num_views=2)


def test_prepared_data_passes_through(tmp_path):
    root = tmp_path / "raw"
    for folder in ("clips", "skeletons"):
        (root / folder).mkdir(parents=True)
    clips = [raw_dataset.Clip(f"squat_{i}", "train", "squat", (13, 17)) for i in range(3)]
    raw_dataset.write_annotations(root, clips)
    for number, clip in enumerate(clips):
        frames = np.full((12, 48, 64, 3), 60 + 60 * number, np.uint8)
        encode_video(raw_dataset.video_path(root, clip.clip_id), frames, fps=25)
        skeleton = np.random.default_rng(number).uniform(5, 45, (12, 1, 17, 3)).astype(np.float32)
        skeleton[..., 2] = 0.9
        write_alphapose(raw_dataset.skeleton_path(root, clip.clip_id), skeleton)
    source = load_source(prepare("multimodal", tmp_path / "prepared", root, num_workers=1), "train")

    (batch,) = eval_batches(source, SPEC, 4, num_threads=2)
    np.testing.assert_array_equal(batch["clip_valid"], [True, True, True, False])
    for row in range(3):
        number = int(source[row]["clip_id"].removeprefix("squat_"))
        np.testing.assert_allclose(batch["video"][row], 60 + 60 * number, atol=4)
    np.testing.assert_array_equal(np.flatnonzero(batch["muscles"][0]), [13, 17])
    np.testing.assert_array_equal(batch["skeleton_valid"].any(axis=1), [[True, False]] * 3 + [[False, False]])

    iterator = train_iterator(source, SPEC, 2, 0, num_threads=2)
    stream = list(itertools.islice(iterator, 3))
    iterator.close()
    order = np.concatenate([batch["clip_index"] for batch in stream]).reshape(2, 3)
    np.testing.assert_array_equal(np.sort(order, axis=1), [[0, 1, 2]] * 2)


def test_flow_is_that_of_the_frames_in_their_crop_and_is_reversed_by_a_flip(tmp_path):
    root = tmp_path / "raw"
    for folder in ("clips", "flow"):
        (root / folder).mkdir(parents=True)
    raw_dataset.write_annotations(root, [raw_dataset.Clip("a", "train", "squat", (13, 17))])
    # The same picture as video and as both flows: bright to the right, and brighter from frame to frame.
    columns = np.broadcast_to(80 + np.arange(64), (12, 48, 64)) + 4 * np.arange(12)[:, None, None]
    picture = np.repeat(columns[..., None], 3, axis=-1).astype(np.uint8)
    for path in (raw_dataset.video_path(root, "a"), *flow_paths(root, "a")):
        encode_video(path, picture, fps=25, crf=4)
    builder = prepare("rgb", tmp_path / "prepared", root, num_workers=1, modalities=("video", "flow"))
    source = load_source(builder, "train")

    spec = dataclasses.replace(SPEC, modalities=("video", "flow"))
    (batch,) = eval_batches(source, spec, 2, num_threads=0)
    assert batch["flow"].shape == (2, 2, 4, 16, 16, 2)
    grey = batch["video"][0].mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(batch["flow"][0], np.repeat(grey, 2, axis=-1), atol=4)
    assert (batch["flow"][1] == 128).all()

    augmentation = dataclasses.replace(NO_AUGMENTATION, flip_probability=1.0, crop_area=(0.5, 1.0))
    spec = dataclasses.replace(spec, augmentation=augmentation)
    iterator = train_iterator(source, spec, 1, 0, num_threads=0)
    flipped = next(iterator)
    iterator.close()
    grey = flipped["video"][0].mean(axis=-1)
    assert grey[..., 0].mean() > grey[..., -1].mean() + 20
    np.testing.assert_allclose(flipped["flow"][0, ..., 1], grey, atol=4)
    np.testing.assert_allclose(flipped["flow"][0, ..., 0], 256 - grey, atol=4)
