"""Baselines of prepared data: rendered clips, no skeletons, no persons, and more clips than are learned from."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from musclemap_jax.eval.baselines import LINEAR, LOOKUP, TITLES
from musclemap_jax.eval.metrics import compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment import run_baselines
from musclemap_jax.experiment.config import DataSpec
from musclemap_jax.experiment.prepared_data import PreparedData, load_data
from musclemap_jax.experiment.run_baselines import fit_baselines, with_baselines
from tests.biomechanics.test_channels import pose
from tfds_musclemap.prepare import prepare
from tfds_musclemap.source import ClipSource, split_annotations

SPLITS = ("test_known", "test_new")


def predictions_of(data, splits=SPLITS):
    """Predictions of a model that says the same of every clip."""
    found = {}
    for split in splits:
        clips = data.clips[split]
        labels = np.array([[k in clip.muscles for k in range(len(data.regions))] for clip in clips], np.uint8)
        names = [clip.clip_id for clip in clips], [clip.activity for clip in clips]
        found[split] = SplitPredictions(np.zeros(labels.shape, np.float32), labels, *names)
    return found


@pytest.fixture(scope="module")
def rendered(smoke_data):
    return load_data(DataSpec(builder="synthetic_smoke", data_dir=str(smoke_data)))


def test_rendered_clips_have_every_baseline_and_known_activities_are_looked_up(rendered):
    predictions, remarks = with_baselines(rendered, predictions_of(rendered))
    assert remarks == ()
    assert list(predictions["test_known"].baseline_scores) == list(TITLES)
    assert list(predictions["test_new"].baseline_scores) == list(LINEAR)
    metrics = compute_metrics(predictions, rendered.regions)
    for name in LINEAR:
        beside = metrics.baselines[name]["test_known"]
        assert beside.headline.mean_ap > beside.headline.chance
        assert beside.above.mean_ap < 0
    # A rendered activity has the same regions in every clip.
    assert metrics.baselines[LOOKUP]["test_known"].headline.mean_ap == 1


def test_the_same_data_gives_the_same_scores_and_a_bound_on_clips_is_said(rendered, monkeypatch):
    first, second = (fit_baselines(rendered).scores(rendered, "test_new") for _ in range(2))
    for name in LINEAR:
        np.testing.assert_array_equal(first[name], second[name])
    count = len(rendered.clips["train"])
    monkeypatch.setattr(run_baselines, "MAX_TRAIN_CLIPS", count - 2)
    monkeypatch.setattr(run_baselines, "_CHUNK", 3)
    fewer = fit_baselines(rendered)
    assert fewer.remarks == (f"The linear models were fitted on {count - 2} of {count} training clips.",)
    assert not np.array_equal(fewer.scores(rendered, "test_new")[LINEAR[0]], first[LINEAR[0]])


def data_of(folder, config, persons):
    """Prepared data of a training clip and a test clip, whose persons are as given."""
    root = folder / "raw"
    clips = [raw_dataset.Clip("a", "train", "squat", (13, 17)), raw_dataset.Clip("b", "test_known", "squat", (13,))]
    root.mkdir()
    raw_dataset.write_annotations(root, clips)
    for clip in clips:
        path, joints_path = raw_dataset.video_path(root, clip.clip_id), raw_dataset.skeleton_path(root, clip.clip_id)
        for parent in (path.parent, joints_path.parent):
            parent.mkdir(exist_ok=True)
        video.encode_video(path, np.full((8, 32, 48, 3), 200, np.uint8), 12)
        joints = np.column_stack([4 * pose() + [20, 20], np.ones(17)])
        write_alphapose(joints_path, np.broadcast_to(joints, (8, persons, 17, 3)))
    prepared = prepare(config, folder / "data", root, num_workers=1)
    sources = {split: ClipSource(prepared.data_path, split) for split in ("train", "test_known")}
    return PreparedData(
        sources, {split: split_annotations(source) for split, source in sources.items()}, sources["train"].regions
    )


def test_data_without_skeletons_has_the_lookup_alone_and_says_so(tmp_path):
    data = data_of(tmp_path, "rgb", persons=1)
    predictions, remarks = with_baselines(data, predictions_of(data, ["test_known"]))
    assert list(predictions["test_known"].baseline_scores) == [LOOKUP]
    assert remarks == ("The prepared data holds no skeletons, so there are no linear models beside it.",)


def test_training_clips_without_a_person_have_no_linear_models(tmp_path):
    data = data_of(tmp_path, "skeleton", persons=0)
    baselines = fit_baselines(data)
    assert baselines.linear == {}
    assert baselines.remarks == ("No training clip shows a person, so there are no linear models beside it.",)


def test_one_training_clip_leaves_every_region_with_one_class(tmp_path):
    data = data_of(tmp_path, "multimodal", persons=1)
    scores = fit_baselines(data).scores(data, "test_known")
    expected = np.full(len(data.regions), np.log(0.5 / 1.5))
    expected[[13, 17]] = np.log(1.5 / 0.5)
    for name in LINEAR:
        np.testing.assert_allclose(scores[name], [expected])
