"""The report's example clips, whatever the prepared data stores of them."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.run_report import FRAMES_PER_EXAMPLE, example_clips
from musclemap_jax.reporting.frame_strip import plot_frame_strip
from tfds_musclemap.prepare import load_source, prepare


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A raw data set of one clip."""
    root = tmp_path_factory.mktemp("raw")
    clip = raw_dataset.Clip("a", "train", "squat", (13, 17))
    raw_dataset.write_annotations(root, [clip])
    for path in (raw_dataset.video_path(root, "a"), raw_dataset.skeleton_path(root, "a")):
        path.parent.mkdir()
    video.encode_video(raw_dataset.video_path(root, "a"), np.full((8, 32, 48, 3), 200, np.uint8), 12)
    joints = np.concatenate([np.full((8, 1, 17, 2), 20.0), np.ones((8, 1, 17, 1))], axis=-1)
    write_alphapose(raw_dataset.skeleton_path(root, "a"), joints)
    return root


@pytest.mark.parametrize(("config", "grey"), [("multimodal", 200), ("rgb", 200), ("skeleton", 40)])
def test_examples_show_what_is_stored(root, tmp_path, config, grey):
    source = load_source(prepare(config, tmp_path, root, num_workers=1), "train")
    labels = source[0]["muscles"][None]
    predictions = SplitPredictions(clip_ids=("a",), scores=labels.astype(np.float32), labels=labels)
    data = PreparedData({"train": source}, {}, source.regions)
    (example,) = example_clips(data, "train", predictions)
    assert example.frames.shape == (FRAMES_PER_EXAMPLE, 32, 48, 3)
    assert abs(int(example.frames.mean()) - grey) < 5
    assert (example.skeleton is None) == (config == "rgb")
    assert plot_frame_strip(example.frames, example.skeleton, example.joint_names).axes
    np.testing.assert_allclose(example.probabilities, 1 / (1 + np.exp(-labels[0].astype(float))))
    (example,) = example_clips(data, "train", predictions, link="softmax")
    assert example.probabilities.sum() == pytest.approx(1)
