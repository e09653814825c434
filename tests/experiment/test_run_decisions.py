"""Which clips a run's decisions are calibrated on, and by which link."""

import logging
import types

import numpy as np
import pytest

from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.run_decisions import decide

REGIONS = ("arm", "leg", "neck")
MUSCLES = ((0,), (1, 2), (0, 2))


def clips_of(split, activities, background=False):
    return [
        Clip(f"{split} {number}", split, activity, () if background else MUSCLES[number % 3])
        for number, activity in enumerate(activities)
    ]


def predictions_of(clips):
    labels = np.array([[k in clip.muscles for k in range(3)] for clip in clips], np.uint8)
    logits = (4.0 * labels - 2 + np.random.default_rng(0).normal(size=labels.shape)).astype(np.float32)
    return SplitPredictions(logits, labels, [clip.clip_id for clip in clips], [clip.activity for clip in clips])


class Evaluated:
    """What `decide` asks of an experiment; remembers the splits that it was asked to predict."""

    def __init__(self, clips, loss="sigmoid_bce", recall=0.75):
        config = default_config()
        config.loss.kind = loss
        config.eval.recall = recall
        self.spec = resolve(config)
        self.data = PreparedData({}, clips, REGIONS)
        self.asked = []

    def predict(self, split):
        self.asked.append(split)
        return predictions_of(self.data.clips[split])


@pytest.fixture
def clips():
    known, new = ["squat", "plank", "curl"] * 4, ["lunge", "row", "kick", "jump"] * 4
    clips = {"train": known, "val_known": known, "val_new": new, "test_known": known, "test_new": new}
    return {split: clips_of(split, activities) for split, activities in clips.items()}


def test_new_validation_clips_calibrate(clips):
    experiment = Evaluated(clips)
    predictions = {split: predictions_of(of_split) for split, of_split in clips.items() if split != "train"}
    decisions, metrics = decide(experiment, predictions)
    assert (decisions.split, decisions.num_activities, decisions.num_clips) == ("val_new", 4, 16)
    assert (decisions.regions, decisions.link, decisions.recall) == (REGIONS, "sigmoid", 0.75)
    assert list(metrics.coverage)[:2] == ["test_known", "test_new"]
    assert metrics.rule == decisions.rule()
    assert experiment.asked == []


def test_a_split_that_was_not_evaluated_is_predicted(clips):
    experiment = Evaluated(clips)
    decisions, metrics = decide(experiment, {"test_new": predictions_of(clips["test_new"])})
    assert decisions.split == "val_new"
    assert experiment.asked == ["val_new"]
    assert list(metrics.calibration_error) == ["test_new", "val_new"]


@pytest.mark.parametrize("has_background", [False, True])
def test_known_activities_calibrate_where_no_new_clip_shows_a_region(clips, has_background):
    del clips["val_new"]
    if has_background:
        clips["val_new"] = clips_of("val_new", ["rest", "stand"], background=True)
    decisions, _ = decide(Evaluated(clips), {})
    assert decisions.split == "val_known"
    assert "warning: this does not cover new activities" in decisions.rule()


def test_a_run_without_validation_clips_gets_no_decisions(clips, caplog):
    caplog.set_level(logging.WARNING)
    assert decide(Evaluated({"train": clips["train"], "test_new": clips["test_new"]}), {}) is None
    assert "no validation clip has an active region: the run gets no decisions" in caplog.text


def test_the_link_follows_the_loss(clips):
    decisions, _ = decide(Evaluated(clips, loss="softmax_bce"), {})
    assert decisions.link == "softmax"


def test_frequency_is_of_the_training_clips(clips):
    assert PreparedData({}, clips, REGIONS).train_frequency().tolist() == [8, 4, 8]


def test_the_length_of_clips_is_the_median_in_seconds(monkeypatch):
    stored = [types.SimpleNamespace(num_frames=frames, fps=fps) for frames, fps in ((60, 30), (90, 30), (300, 25))]
    monkeypatch.setattr("musclemap_jax.experiment.prepared_data.stored_clips", lambda source: stored)
    assert PreparedData({"train": []}, {}, REGIONS).clip_length_s == 3.0
