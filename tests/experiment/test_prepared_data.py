"""Tests of the prepared clips of a run."""

import dataclasses
import shutil

import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import DataSpec
from musclemap_jax.experiment.prepared_data import PreparedData, load_data
from musclemap_jax.synthetic.generate import render
from musclemap_jax.synthetic.spec import SyntheticSpec

RENDERED = SyntheticSpec(
    {"train": 2, "val_known": 1, "test_known": 1, "val_new": 1, "test_new": 1},
    size=64,
    num_frames=(8, 9),
    activities=("bodyweight squat", "renegade row"),
)


def test_splits_without_clips_are_logged_or_refused(caplog):
    data = PreparedData({"train": ["clip"], "val_known": ["clip"]}, {}, ("arms",))
    assert data.with_clips(("val_known", "val_new")) == ["val_known"]
    assert "split val_new has no clips and is not evaluated" in caplog.text
    with pytest.raises(UserError, match=r"config.eval.splits: none of test_known, test_new has clips: choose others"):
        data.with_clips(("test_known", "test_new"))


def test_a_run_refuses_data_whose_sources_changed_or_builds_it_again_where_it_may(tmp_path):
    raw = tmp_path / "raw"
    render(raw, RENDERED, 1)
    spec = DataSpec(data_dir=str(tmp_path / "data"), raw_dir=str(raw))
    first, second = sorted(clip.clip_id for clip in load_data(spec).clips["train"])
    shutil.copy(raw_dataset.video_path(raw, first), raw_dataset.video_path(raw, second))
    with pytest.raises(
        UserError, match=rf"out of date: 1 file changed \(clips/{second}.mp4\): .*config.data.rebuild=True"
    ):
        load_data(spec)
    assert len(load_data(dataclasses.replace(spec, raw_dir="")).clips["train"]) == 2
    records = load_data(dataclasses.replace(spec, rebuild=True)).sources["train"]
    assert records[0]["frames"] == records[1]["frames"]
    load_data(spec)


def test_a_raw_data_set_that_was_rendered_again_is_no_change(tmp_path):
    data = DataSpec(data_dir=str(tmp_path / "data"), raw_dir=str(tmp_path / "raw"))
    render(tmp_path / "raw", RENDERED, 1)
    load_data(data)
    shutil.rmtree(tmp_path / "raw")
    render(tmp_path / "raw", RENDERED, 1)
    assert len(load_data(data).clips["train"]) == 2
